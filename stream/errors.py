"""Errors that a user can fix; each message is one sentence that ends with the remedy."""

from __future__ import annotations

from innpar.errors import InnparError


class ConfigError(InnparError):
    """A command-line flag, configuration file or environment variable is invalid."""


class BrokerError(InnparError):
    """The MQTT broker is unreachable or refuses the connection.

    Attributes:
        after_start: Whether the broker had already accepted messages.
    """

    after_start = False


class SessionError(InnparError):
    """A session file cannot be written or read."""


class UnconfirmedReading(SessionError):
    """A cuff reading is far from the estimates, and has not been confirmed."""
