"""`python -m livemosaic`."""

import sys

if __name__ == "__main__":
    try:
        from .cli import main
    except KeyboardInterrupt:  # importing takes long enough for a Ctrl-C
        sys.exit(130)
    sys.exit(main())
