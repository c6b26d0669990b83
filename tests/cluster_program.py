"""A program that has workers do long tasks: `python -m tests.cluster_program WHERE FOLDER`.

WHERE is `processes` or an engine. It ends as the command line does.
"""

from __future__ import annotations

import sys

from livemosaic.cli.signals import INTERRUPTED, Interrupts
from livemosaic.cluster.engine import open_engine

from . import cluster_tasks as tasks


def main() -> int:
    where, folder = sys.argv[1:]
    cluster = None if where == "processes" else where
    with (
        Interrupts(to_the_end=True) as interrupts,
        open_engine(cluster, workers=None if cluster else 2) as engine,
    ):
        interrupts.pipeline = engine
        try:
            list(engine.run(tasks.pid_then_wait, [f"{folder}/0", f"{folder}/1"]))
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
