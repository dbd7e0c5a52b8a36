"""A simulated city: a population, its events, and the truth about who is made to leave."""
