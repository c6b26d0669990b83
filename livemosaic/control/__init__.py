"""Changes while a mosaic runs: the options, their state, the settings file, and OSC."""
