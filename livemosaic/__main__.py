"""The program `livemosaic`, and `python -m livemosaic`."""

import sys


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        from .cli import app
    except KeyboardInterrupt:  # the import takes long enough for a Ctrl-C
        return 130
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
