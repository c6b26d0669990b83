"""Silence of the warnings of one thread."""

from __future__ import annotations

import logging
import threading

import pytest

from livemosaic.media.silence import silent

logger = logging.getLogger("livemosaic")


@pytest.mark.error_logs
def test_the_warnings_of_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    other = threading.Thread(target=logger.warning, args=("of another thread",))
    with silent():
        with silent():
            logger.warning("inside")
        logger.warning("after a block in the block")
        logger.error("an error")
        other.start()
        other.join()
    logger.warning("afterwards")
    assert caplog.messages == ["an error", "of another thread", "afterwards"]
