"""The program `livemosaic`, and `python -m livemosaic`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line in this process, which ends after that; return the exit code."""
    if hasattr(signal, "SIGUSR1"):  # a hotkey must not end a program that is starting
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # The imports take long enough for a Ctrl-C, and there is nothing to finish or undo yet.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        kind = getattr(signal, name, None)  # Windows has no SIGHUP
        # `nohup` ignores SIGHUP, and a script SIGINT for what it starts with `&`.
        if kind is not None and signal.getsignal(kind) != signal.SIG_IGN:
            signal.signal(kind, lambda *_: os._exit(130))
    from .cli import app

    return app.main(is_process=True)


if __name__ == "__main__":
    sys.exit(main())
