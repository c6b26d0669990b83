"""The models in the package, see models/CREDITS.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from ..errors import LivemosaicError, words_of

FOLDER = Path(__file__).parent / "models"


def read_model(name: str, *engine: int) -> Any:
    """The network of a file, for OpenCV; `LivemosaicError` if it cannot be read."""
    path = FOLDER / name
    try:
        path.open("rb").close()  # OpenCV does not say why it cannot be opened
        # By its name: of bytes, OpenCV 5 reads them with another engine.
        return cv2.dnn.readNetFromTFLite(str(path), *engine)
    except (OSError, cv2.error) as error:
        problem = words_of(error) if isinstance(error, OSError) else "it is damaged"
        raise LivemosaicError(
            f"{path}: cannot be read: {problem}; install livemosaic again"
        ) from error
