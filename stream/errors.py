"""What a person can put right before a run; every message is whole and says what to do."""

from __future__ import annotations

from innpar.errors import InnparError


class ConfigError(InnparError):
    """A flag, file or environment variable that makes no sense."""


class BrokerError(InnparError):
    """The MQTT broker cannot be reached, or refuses.

    Attributes:
        after_start: Whether it had already taken messages.
    """

    after_start = False


class SessionError(InnparError):
    """A session file that cannot be written or read."""
