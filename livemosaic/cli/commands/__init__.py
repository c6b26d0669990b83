"""The subcommands, a module each. Nothing heavy is imported before one runs.

`add_parser` adds a subcommand to the result of `ArgumentParser.add_subparsers`, and `run` returns
its exit code.
"""
