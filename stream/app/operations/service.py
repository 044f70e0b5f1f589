"""Messages to the service manager that started this process: sd_notify(3), without its library."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

log: logging.Logger = logging.getLogger(__name__)

EVERY = 10.0
"""s between two messages where no watchdog asks for more."""
LOOKS = 3
"""Messages in the time after which the watchdog ends the process."""


@dataclass(slots=True)
class ServiceManager:
    """The service manager, such as systemd; nothing happens where there is none.

    Attributes:
        address: Of its datagram socket; None without a service manager.
        every: s between two signs of life.
    """

    address: str | None
    every: float = EVERY

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """Return the one that the environment names."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return cls(None)
        timeout = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if not (ours and timeout.isdigit()):
            return cls(address)
        return cls(address, min(EVERY, max(0.05, int(timeout) / 1e6 / LOOKS)))

    def send(self, **fields: object) -> None:
        """Send fields of sd_notify(3), such as ``READY=1``; an error is logged."""
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address[0] == "@" else self.address
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
                datagrams.setblocking(False)
                datagrams.sendto(text.encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be reached at %s: %s", self.address, error)

    def reloading(self) -> None:
        """Announce that the configuration is read again; `send` ``READY=1`` afterwards."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    async def watch(self, works: Callable[[], bool], status: Callable[[], str]) -> None:
        """Send signs of life until cancelled.

        Args:
            works: Whether the run has done its work since the last call; without it the watchdog
                is not fed.
            status: One line for ``systemctl status``.
        """
        while True:
            alive: dict[str, object] = {"WATCHDOG": 1} if works() else {}
            self.send(**alive, STATUS=status())
            await asyncio.sleep(self.every)


class NetworkProgress:
    """Whether the network works off its inputs.

    Args:
        calls: Number of its calls so far.
        waiting: Number of inputs that wait.
    """

    def __init__(self, calls: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._calls = calls
        self._waiting = waiting
        self._before = -1

    def __call__(self) -> bool:
        """Return False where inputs wait and no call has ended since the last look."""
        before, self._before = self._before, self._calls()
        return self._before != before or not self._waiting()
