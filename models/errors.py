"""What can go wrong with a model."""

from __future__ import annotations

from innpar.errors import InnparError


class ModelError(InnparError):
    """A model file or checkpoint that cannot be used; the message says why and what to do."""


class DataError(ModelError):
    """The recordings cannot be used as they are; the message says what to change."""
