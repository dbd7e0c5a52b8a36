"""What signals there are, topic by topic: for each what people need to know of it, and how it is made."""
