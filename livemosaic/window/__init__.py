"""The window: what it shows, and its keys."""
