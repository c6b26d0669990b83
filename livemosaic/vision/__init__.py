"""Where people are in a picture."""
