"""Files written by ``torch.save``, read without executing pickled code."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from innpar.models.errors import ModelError

_FOREIGN = re.compile(r"[Uu]nsupported (?:global: GLOBAL|GLOBAL|class) ([\w.]+)")


def read_pickled(path: Path, device: str = "cpu") -> Any:
    """Read a file written by ``torch.save`` that contains only tensors and plain containers.

    Args:
        path: The file.
        device: Torch device for the tensors.

    Raises:
        FileNotFoundError: The file does not exist.
        ModelError: The file is damaged, of another kind, or contains other objects.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        reason = f"it is damaged or another kind of file ({_brief(error)})"
    except pickle.UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        reason = "it is damaged or another kind of file"
        if foreign:
            reason = (
                f"it contains a pickled {foreign[1]}, which would execute code; "
                "save the network's state_dict() alone"
            )
    raise ModelError(f"{path} cannot be read as a PyTorch checkpoint: {reason}") from None


def _brief(error: Exception) -> str:
    """Return the first sentence of an error, or its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return lines[0].split(". ")[0] if lines and lines[0] else type(error).__name__
