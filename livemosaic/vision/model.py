"""The models in the package, see models/CREDITS.md."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2

from ..errors import LivemosaicError, words_of
from ..jit import files_digest

# OpenCV reads no two models at once without mistakes.
_reading = threading.Lock()

FOLDER = Path(__file__).parent / "models"


def vision_digest(folder: Path = Path(__file__).parent) -> str:
    """A digest of the models, and of the code that looks with them."""
    return files_digest(sorted([*folder.rglob("*.py"), *folder.rglob("*.tflite")]))


def read_model(name: str, *engine: int) -> Any:
    """The network of a file, for OpenCV, on any thread; `LivemosaicError` if it cannot be read."""
    path = FOLDER / name
    try:
        path.open("rb").close()  # OpenCV does not say why it cannot be opened
        # By its name: of bytes, OpenCV 5 reads them with another engine.
        with _reading:
            return cv2.dnn.readNetFromTFLite(str(path), *engine)
    except (OSError, cv2.error) as error:
        problem = words_of(error) if isinstance(error, OSError) else "it is damaged"
        raise LivemosaicError(
            f"{path}: cannot be read: {problem}; install livemosaic again"
        ) from error
