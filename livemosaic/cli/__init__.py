"""The command line: words, errors and exit codes."""
