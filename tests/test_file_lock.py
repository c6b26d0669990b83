"""Locks among processes: two open files are as two processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from livemosaic.media.file_lock import lock_file, take_lock


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Unix")
def test_one_alone_or_several_together(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert take_lock(first, shared=True, wait=True)
    assert take_lock(second, shared=True)
    assert not take_lock(second)
    with pytest.raises(BlockingIOError):
        lock_file(second)
    os.close(first)
    assert take_lock(second)
    os.close(second)


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Unix")
def test_no_locks() -> None:
    """A number of no file stands for one on a disk without them."""
    assert take_lock(10**6)
    with pytest.raises(OSError, match="descriptor"):
        lock_file(10**6)
