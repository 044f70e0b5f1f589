"""Standard JSON, without NaN and infinity, which not every reader accepts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a copy of nested mappings and lists with None for NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def strict_json(value: Any, **options: Any) -> str:
    """Serialize like `json.dumps` with these options, with null for NaN and infinity."""
    return json.dumps(plain(value), allow_nan=False, **options)
