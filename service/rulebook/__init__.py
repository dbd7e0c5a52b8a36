"""From YAML files to the rulebook the core understands, and back to sentences about what is wrong in them."""
