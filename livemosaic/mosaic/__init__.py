"""The filter: a frame in, its mosaic out. Pure: no threads, no clock, no files, no network."""
