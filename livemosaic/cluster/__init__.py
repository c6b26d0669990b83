"""Work on many processes and machines, with or without Dask."""
