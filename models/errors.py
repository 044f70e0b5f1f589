"""Errors of model files, checkpoints and training data."""

from __future__ import annotations

from innpar.errors import InnparError


class ModelError(InnparError):
    """An unusable model file, checkpoint or training run; the message says why and what to do."""


class DataError(ModelError):
    """Unusable training data or configuration; the message says what to change."""
