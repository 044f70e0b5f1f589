"""The root of the errors that a user can put right; the whole tree is drawn in `innpar`."""

from __future__ import annotations


class InnparError(Exception):
    """Base of the errors that a user can put right; the message ends with what to do."""


InnparError.__module__ = "innpar"  # its public place
