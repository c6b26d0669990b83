"""The verbs of the command line, a module each. Nothing heavy is imported before a verb runs."""
