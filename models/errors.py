"""What can go wrong with a model."""

from __future__ import annotations


class ModelError(Exception):
    """A model file or checkpoint that cannot be used; the message says why and what to do."""
