"""Galleries that are built by the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..gallery.shard_folder import remove_if_empty, shard_folder
from ..gallery.shards import Shard, ShardMakers, make_shard
from ..processors import usable_cores
from .engine import Engine, Requirements, open_engine, teller

# Threads of one process are as fast for large photos, but wait for Python's lock for small ones.
# With fewer shards for each process, some have nothing to do at the end.
_SHARDS_PER_PROCESS = 8


@contextmanager
def shard_makers(
    cluster: str | None,
    paths: Iterable[str | Path],
    output: str | Path,
    *,
    shards: str | Path | None = None,
    workers: int | None = None,
    on_run: Callable[[Engine | None], None] = lambda _: None,
) -> Iterator[ShardMakers]:
    """Have workers read the photos of a gallery, for `livemosaic.gallery.build_gallery`.

    All machines need the photos, and the folder of the shards, at the same paths.

    Parameters
    ----------
    cluster : `local`, `local:N`, `tcp://HOST:PORT` or `tls://HOST:PORT`; None for processes of this
        machine without Dask, which read the photos if there are many for each of them
    paths, output, shards : as for `build_gallery`
    workers : number of processes on this machine
    on_run : called with the engine before it runs, and with None afterwards

    Raises
    ------
    ClusterError : Dask is missing, there is no scheduler, or a worker differs
    OptionError : there is no such cluster

    Examples
    --------
    >>> from livemosaic.cluster.galleries import shard_makers
    >>> from livemosaic.gallery import build_gallery
    >>> with shard_makers("local:2", ["~/Pictures"], "my.gallery") as makers:  # doctest: +SKIP
    ...     build_gallery(["~/Pictures"], "my.gallery", makers=makers)
    """
    # What workers share is beside the gallery: the shards' folder is removed while they still run.
    place = shard_folder(output, shards)
    folder = Path(output).parent if shards is None else place
    needed = Requirements(
        folders=tuple(sorted({_nearest(path) for path in paths})), shared=_nearest(folder)
    )
    with ExitStack() as stack:
        if shards is None or not os.path.lexists(place):
            # Until they end, workers have files in it.
            stack.callback(remove_if_empty, place)
        engine = stack.enter_context(open_engine(cluster, workers=workers, requirements=needed))

        def make(tasks: Sequence[Shard], note: Callable[[int], None]) -> Iterator[tuple[int, str]]:
            on_run(engine)
            try:
                yield from engine.run(_make, tasks, on_progress=note)
            finally:
                on_run(None)

        count = workers or usable_cores()
        yield ShardMakers(make, least=_SHARDS_PER_PROCESS * count if cluster is None else 0)


def _make(shard: Shard) -> str:
    return make_shard(shard, teller())


def _nearest(path: str | Path) -> Path:
    """The folder at a path, or the nearest above that is there, as for a photo or a glob."""
    path = Path(os.path.abspath(os.path.expanduser(path)))
    return next(it for it in (path, *path.parents) if os.path.isdir(it))
