"""TorchScript: the one place that makes, writes and reads it.

Deprecated upstream since torch 2.11 and unsupported on Python 3.14, where `SUPPORTED` is False.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SUPPORTED = sys.version_info < (3, 14)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"`?torch\.jit\.\w+`? is", category=DeprecationWarning
        )
        yield


def scripted(model: nn.Module) -> torch.jit.ScriptModule:
    """Script and freeze a module in evaluation mode, `inverse` kept."""
    with _quiet():
        result: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.script(model.eval()), preserved_attrs=["inverse"]
        )
    return result


def to_bytes(module: torch.jit.ScriptModule) -> bytes:
    """Return the module as a file's content."""
    buffer = io.BytesIO()
    with _quiet():
        torch.jit.save(module, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes, device: str = "cpu") -> torch.jit.ScriptModule:
    """Load a module, which can run code: only from a file whose hash has been checked."""
    with _quiet():
        module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]  # torch has no types here
            io.BytesIO(content), map_location=device
        )
    return module
