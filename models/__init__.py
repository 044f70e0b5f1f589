"""Neural network that reconstructs arterial pressure (ABP) from photoplethysmography (PPG).

`Predictor` loads a model folder and maps windows of PPG to windows of pressure. Importing this
package is cheap: names that need torch are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from innpar.models.errors import ModelError

if TYPE_CHECKING:
    from innpar.models.formats.checkpoint_import import from_published
    from innpar.models.manifest import Architecture, Manifest
    from innpar.models.network.fold import Folded
    from innpar.models.network.innpar import InnPar
    from innpar.models.predictor import Prediction, Predictor

_HOMES = {
    "Architecture": "manifest",
    "Folded": "network.fold",
    "InnPar": "network.innpar",
    "Manifest": "manifest",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "from_published": "formats.checkpoint_import",
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
