"""Changes while a mosaic runs: the options, their state, and the settings file."""
