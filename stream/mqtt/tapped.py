"""The socket under paho: read in large pieces, with the acknowledgements taken out on the way.

paho takes single bytes from its socket, each a system call, and looks every acknowledgement up
among messages of its own. Our messages are not its own; everything else is served to it here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from innpar.stream.mqtt.packets import acknowledged, whole_packets

_PIECE = 1 << 16
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class TappedSocket:
    """A non-blocking socket that keeps acknowledgements from its reader.

    Args:
        real: The real one, plain or with TLS.
        on_acknowledged: Called with packet identifier and reason code of each PUBACK; returns
            whether it was meant for us, and is not to be served.
    """

    def __init__(self, real: Any, on_acknowledged: Callable[[int, int], bool]) -> None:
        self._socket = real
        self._is_tcp = getattr(real, "family", None) in (socket.AF_INET, socket.AF_INET6)
        if self._is_tcp:
            # Otherwise a message waits up to 40 ms for the broker's system to acknowledge the one
            # before it. aiomqtt sets options on sockets of Python's own classes only.
            real.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_acknowledged = on_acknowledged
        self._begun = b""  # the first part of a packet
        self._ready = bytearray()

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of what is for the reader; empty at the end of the stream.

        Raises:
            BlockingIOError, ssl.SSLWantReadError: There is nothing at present.
        """
        if not self._ready:
            data = self._socket.recv(_PIECE)
            if not data:
                return b""
            if self._is_tcp and _QUICKACK is not None:
                # Otherwise a broker that gathers small packets waits 40 ms for the system's answer
                # to an acknowledgement before it sends the next one. Holds until the next read.
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            self._sort(self._begun + data)
        if not self._ready:
            raise BlockingIOError
        part = bytes(self._ready[:size])
        del self._ready[:size]
        return part

    def pending(self) -> int:
        """Return the number of bytes that can be read without waiting."""
        behind = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._ready) + behind

    def _sort(self, data: bytes) -> None:
        taken = 0
        for packet in whole_packets(data):
            taken += len(packet)
            found = acknowledged(packet)
            if found is None or not self._on_acknowledged(*found):
                self._ready += packet
        self._begun = data[taken:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
