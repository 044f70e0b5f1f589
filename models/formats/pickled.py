"""Files of ``torch.save``, read without running what is in them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from innpar.models.errors import ModelError

_FOREIGN = re.compile(r"[Uu]nsupported (?:global: GLOBAL|GLOBAL|class) ([\w.]+)")


def read_pickled(path: Path, device: str = "cpu") -> Any:
    """Return what ``torch.save`` put into a file, tensors and plain containers only.

    Raises:
        FileNotFoundError: There is none.
        ModelError: It is damaged, no such file, or holds other objects; the message is one line.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        why = f"it is damaged or another kind of file ({_brief(error)})"
    except pickle.UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        why = "it is damaged or another kind of file"
        if foreign:
            why = (
                f"it holds a pickled {foreign[1]}, which would run code; "
                "save the network's state_dict() alone"
            )
    raise ModelError(f"{path} cannot be read as a PyTorch checkpoint: {why}") from None


def _brief(error: Exception) -> str:
    """Return the first sentence of an error, or its kind."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return lines[0].split(". ")[0] if lines and lines[0] else type(error).__name__
