"""The program `livemosaic`, and `python -m livemosaic`."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        from .cli import app as cli
    except KeyboardInterrupt:  # importing takes long enough for a Ctrl-C
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
