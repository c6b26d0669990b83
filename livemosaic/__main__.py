"""The program `livemosaic`, and `python -m livemosaic`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line in this process, which ends after that; return the exit code."""
    # The imports take long enough for a Ctrl-C, and there is nothing to finish or undo yet.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        kind = getattr(signal, name, None)  # Windows has no SIGHUP, and `nohup` ignores it
        if kind is not None and (name != "SIGHUP" or signal.getsignal(kind) == signal.SIG_DFL):
            signal.signal(kind, lambda *_: os._exit(130))
    from .cli import app

    return app.main(is_process=True)


if __name__ == "__main__":
    sys.exit(main())
