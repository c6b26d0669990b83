"""Fixtures of all tests: a cache folder, no unexpected errors in the log, small galleries.

Environment
-----------
LIVEMOSAIC_CLIPS : a folder with more real clips (`bigbuckbunny.mp4`, ...)
NUMBA_DISABLE_JIT : 1 runs the kernels as plain Python; hypothesis tries fewer examples
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# Before the import of livemosaic: every hand-over is checked, see `pipeline.monitors`.
os.environ["LIVEMOSAIC_MONITORS"] = "1"
# No test may use the user's own cache or settings file.
_CACHE = tempfile.mkdtemp(prefix="livemosaic-tests-")
os.environ["LIVEMOSAIC_CACHE"] = _CACHE
os.environ["XDG_CONFIG_HOME"] = os.path.join(_CACHE, "config")
os.environ["WIN_PD_OVERRIDE_LOCAL_APPDATA"] = _CACHE
# It is ignored where a script starts the tests with `&`, and programs that they start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from livemosaic.gallery.file_writer import new_gallery_file  # noqa: E402
from livemosaic.gallery.gallery import Gallery  # noqa: E402
from tests.fakes import TIMEOUT_S, pipeline_threads  # noqa: E402

ROOT = Path(__file__).parent.parent
JIT = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"

U8 = NDArray[np.uint8]

PROGRAMS: list[subprocess.Popen[bytes]] = []  # that tests have started and may still run

# Of a gallery, and of pictures. Kernels as plain Python take milliseconds for each cell.
TILES, SIZE = (600, (320, 192)) if JIT else (60, (64, 48))

# No deadline: the first example of a kernel includes its compilation. The same examples each time:
# a failure in CI must be reproducible.
settings.register_profile(
    "livemosaic",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60 if JIT else 12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("livemosaic")


@pytest.fixture
def program(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Any]]:
    """`tests.program.Program`: runs the command line in this process and leaves no thread."""
    from tests.program import program_in_process

    with program_in_process(capfd) as run:
        yield run
    assert pipeline_threads() == []


def _await_pipeline_threads() -> None:
    """Wait for the threads of pipelines; some are in the middle of a read."""
    deadline = time.monotonic() + TIMEOUT_S
    for thread in threading.enumerate():
        if thread.name.startswith("livemosaic "):
            thread.join(max(0.0, deadline - time.monotonic()))


def pytest_unconfigure() -> None:
    # FFmpeg's own timeout ends a thread in a read. A thread that still runs when the interpreter
    # ends would crash it; the program itself leaves by `os._exit`.
    _await_pipeline_threads()
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_error_logs(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """A log line of level ERROR fails a test without `mark.error_logs`."""
    yield
    if request.node.get_closest_marker("error_logs"):
        return
    for phase in ("setup", "call"):
        errors = [r for r in caplog.get_records(phase) if r.levelno >= logging.ERROR]
        if errors:
            pytest.fail(f"logged at level ERROR: {[r.getMessage() for r in errors]}")


@pytest.fixture(autouse=True)
def _no_program_left() -> Iterator[None]:
    """Kill the programs that a test has left running, such as one that has failed."""
    before = len(PROGRAMS)  # those of fixtures that last longer
    yield
    for process in PROGRAMS[before:]:
        process.kill()
        process.wait(TIMEOUT_S)
    del PROGRAMS[before:]


@pytest.fixture(autouse=not JIT)
def _wrapping_integers() -> Iterator[None]:
    """Kernels rely on integers that wrap around; NumPy's scalars warn about it."""
    with np.errstate(over="ignore"):
        yield


def write_tiles(
    path: Path,
    tiles: U8,
    labels: NDArray[np.int32],
    *,
    mirror: bool = True,
    drop: float = 0.0,
    photos: NDArray[np.int32] | None = None,
    names: Sequence[str] = (),
    root: str = "",
) -> Gallery:
    """Write uint8 (n, px, px, 3) tiles with their clusters as a gallery file, and open it.

    `photos` has the photo of each tile, 0 ... n; by default each tile has its own. `names` are
    those of the photos, relative to `root`.
    """
    from livemosaic.gallery.clusters import group_tiles
    from livemosaic.gallery.histogram import tile_histograms
    from livemosaic.gallery.layout_features import tile_points
    from livemosaic.gallery.recipe import Recipe

    n, px = tiles.shape[:2]
    features = tile_histograms(tiles)
    points, texture = tile_points(tiles)
    source_photo = np.arange(n, dtype=np.int32) if photos is None else photos
    groups = group_tiles(features, labels, source_photo, drop_percentile=drop)
    arrays = {
        "features": features,
        "points": points,
        "texture": texture,
        "source_photo": source_photo,
        "source_crop": np.tile(np.array([0, 0, px, px], np.int32), (n, 1)),
        **groups._asdict(),
    }
    with new_gallery_file(path) as writer:
        writer.append(tiles)
        writer.finish(
            arrays,
            photos=names or [f"{i}.png" for i in range(int(source_photo.max()) + 1)],
            root=root,
            recipe=Recipe(crops=0, drop_percentile=drop, no_mirror=not mirror),
        )
    return Gallery.open(path)


def synthetic_tiles(count: int, px: int, *, seed: int = 0) -> U8:
    """Tiles of two colours each, with texture and no symmetry: uint8 (count, px, px, 3) BGR."""
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(0, 255, (2, count, 1, 1, 3))
    ramp = np.linspace(0, 1, px)
    mix = np.clip(ramp[None, :] * 0.7 + ramp[:, None] * 0.5 - 0.1, 0, 1)[None, :, :, None]
    texture = rng.normal(0, 6, (count, px, px, 1))
    tiles = np.clip(low * (1 - mix) + high * mix + texture, 0, 255)
    return np.asarray(tiles, np.uint8)


@pytest.fixture(scope="session")
def make_gallery(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Gallery]:
    """A function that returns a gallery of synthetic tiles, the same for the same arguments."""
    made: dict[object, Gallery] = {}
    folder = tmp_path_factory.mktemp("galleries")

    def make(
        count: int = TILES,
        *,
        px: int = 32,
        clusters: int = 60,
        mirror: bool = True,
        drop: float = 35,
    ) -> Gallery:
        key = (count, px, clusters, mirror, drop)
        if key not in made:
            from livemosaic.gallery.clusters import cluster_tiles
            from livemosaic.gallery.histogram import tile_histograms

            tiles = synthetic_tiles(count, px)
            labels = cluster_tiles(tile_histograms(tiles), clusters=clusters)
            path = folder / f"{len(made)}.gallery"
            made[key] = write_tiles(path, tiles, labels, mirror=mirror, drop=drop)
        return made[key]

    return make


@pytest.fixture(scope="session")
def gallery(make_gallery: Callable[..., Gallery]) -> Gallery:
    """600 tiles of 32 pixels in 60 clusters; the small clusters are dropped."""
    return make_gallery()


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The module bench/reference.py."""
    return importlib.import_module("bench.reference")


@pytest.fixture(scope="session")
def real_clip() -> Path:
    """A real video: the included one, or one of LIVEMOSAIC_CLIPS."""
    clips = sorted((ROOT / "livemosaic").rglob("*.mp4"))
    folder = os.environ.get("LIVEMOSAIC_CLIPS")
    if folder:
        clips += sorted(Path(folder).glob("bigbuckbunny.mp4"))
    if not clips:
        pytest.skip("no clip in the package, and LIVEMOSAIC_CLIPS names no folder")
    return clips[0]


def moving_pictures(
    count: int, *, size: tuple[int, int] = SIZE, seed: int = 0, cut: int | None = None
) -> list[U8]:
    """Smooth coloured backgrounds with a moving block and a little noise; uint8 BGR.

    Parameters
    ----------
    size : width and height
    cut : number of the frame where the scene changes, None for no change
    """
    import cv2

    rng = np.random.default_rng(seed)
    width, height = size
    pictures = []
    for n in range(count):
        if n == 0 or n == cut:
            coarse = rng.uniform(0, 255, (5, 7, 3)).astype(np.float32)
            ground = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).clip(0, 255)
            colour = rng.uniform(0, 255, 3)
        picture = ground + rng.normal(0, 1.5, ground.shape)
        side = max(4, min(width, height) // 4)
        left, top = n * 7 % max(1, width - side), n * 3 % max(1, height - side)
        picture[top : top + side, left : left + side] = colour
        pictures.append(picture.round().clip(0, 255).astype(np.uint8))
    return pictures


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Fails a test that leaves a thread of a pipeline behind."""
    _await_pipeline_threads()  # of the tests before
    assert pipeline_threads() == []
    yield
    _await_pipeline_threads()
    assert pipeline_threads() == []
