"""The network: a window of PPG in, a window of arterial pressure out.

What needs torch is imported on first use, so that naming this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import ModelError

if TYPE_CHECKING:
    from .fold import Folded
    from .innpar import InnPar
    from .manifest import Architecture, Manifest
    from .predictor import Prediction, Predictor
    from .published import from_published

_HOMES = {
    "Architecture": "manifest",
    "Folded": "fold",
    "InnPar": "innpar",
    "Manifest": "manifest",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "from_published": "published",
}

__all__ = [
    "Architecture",
    "Folded",
    "InnPar",
    "Manifest",
    "ModelError",
    "Prediction",
    "Predictor",
    "from_published",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
