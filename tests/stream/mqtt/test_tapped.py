"""The socket under paho: everything but our acknowledgements reaches its reader, in order."""

from __future__ import annotations

import socket

import pytest

from innpar.stream.mqtt.tapped import TappedSocket

OURS = {5, 6}
PING, LONG = b"\xd0\x00", b"\x30\x05\x00\x01tab"


def test_foreign_packets_and_acknowledgements_are_served_and_ours_are_not() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        taken = list[tuple[int, int]]()

        def take(number: int, code: int) -> bool:
            taken.append((number, code))
            return number in OURS

        tapped = TappedSocket(near, take)
        with pytest.raises(BlockingIOError):
            tapped.recv(1)
        far.sendall(b"\x40\x02\x00\x05" + PING + b"\x40\x03\x00\x06\x87" + b"\x40\x02\x00\x09")
        far.sendall(LONG[:4])
        assert tapped.recv(1) == PING[:1]
        assert tapped.pending() == 1 + 4
        assert tapped.recv(100) == PING[1:] + b"\x40\x02\x00\x09"
        with pytest.raises(BlockingIOError):
            tapped.recv(1)
        far.sendall(LONG[4:])
        assert tapped.recv(3) + tapped.recv(100) == LONG
        assert taken == [(5, 0), (6, 0x87), (9, 0)]
        far.close()
        assert tapped.recv(1) == b""
        assert tapped.fileno() == near.fileno()
