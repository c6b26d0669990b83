"""What may change while a mosaic runs: the options, their state, and the settings file."""
