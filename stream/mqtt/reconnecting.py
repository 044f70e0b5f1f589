"""Pauses between two connections, and one line about why the last one ended."""

from __future__ import annotations

import random

from innpar.stream.mqtt.connection import LinkLost

LONGEST_PAUSE = 30.0
"""s between two attempts to connect, at most."""
_SETTLED = 60.0
"""s of connection after which the same reason is reported again."""


class Reconnecting:
    """The course of one process's connections.

    Args:
        node: Its name on the broker.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._attempt = 0
        self._reported = ""
        self._contested = False

    def contested(self) -> str:
        """Note that another process has our name; return the line to report, empty if known."""
        self._contested = True
        return self._once(
            f"another process with the node name {self._node} takes the connection over: "
            "give each process its own with --node NAME"
        )

    def lost(self, error: Exception, *, lasted: float, delivered: bool) -> str:
        """Take the end of a connection; return the line to report, empty if it is known.

        Args:
            error: Its reason.
            lasted: s; 0 if there was no connection.
            delivered: Whether the broker has acknowledged messages on it.
        """
        if lasted > _SETTLED:
            self._contested = False
        if lasted > _SETTLED or (delivered and not self._contested):
            self._reported, self._attempt = "", 0
        self._attempt += 1
        if isinstance(error, LinkLost) and error.taken_over:
            return self.contested()
        if self._contested:
            return ""
        return self._once(f"{error}; reconnecting, beats are kept meanwhile")

    @property
    def pause(self) -> float:
        """Time to wait before the next attempt, s."""
        # Jitter, so that many computers do not reconnect at once.
        longest: float = min(0.25 * 2**self._attempt, LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1.0)

    def _once(self, line: str) -> str:
        if line == self._reported:
            return ""
        self._reported = line
        return line
