"""The subcommands, a module each. Nothing heavy is imported before one runs."""
