"""A key press in the terminal as a marker; the terminal is afterwards as it was."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

NAMES = {" ": "mark"}
"""Keys whose marker is called otherwise than the key; letters and digits are their own name."""


SEQUENCE = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O])", re.DOTALL)
"""What a terminal sends for an arrow, a function key, or a key with Alt."""
CUT = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*|O)?$")
"""The beginning of one; the escape key alone, too."""


class KeyPresses:
    """Finds in what a terminal sends the keys that mark; sequences of other keys mark nothing."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._left = ""

    def push(self, typed: bytes) -> list[str]:
        """Return the markers' texts of some more bytes."""
        more = self._decoder.decode(typed)
        if self._left == "\x1b" and more and not re.match(r"[\[O].", more):
            self._left = ""  # that was the escape key
        text = SEQUENCE.sub("", self._left + more)
        cut = CUT.search(text)
        self._left = cut[0] if cut else ""
        if cut:
            text = text[: cut.start()]
        return [NAMES.get(key, key) for key in text if key in NAMES or key.isalnum()]


@contextmanager
def listening(stream: IO[Any], press: Callable[[str], None]) -> Iterator[bool]:
    """Call `press` with a marker's text for every key while inside.

    Args:
        stream: Standard input.
        press: Gets ``mark`` for the space bar, else the letter or digit.

    Yields:
        Whether anybody can press: the stream is a terminal, and ours at present.
    """
    try:
        import termios
        import tty

        fd = stream.fileno()
        before = termios.tcgetattr(fd) if stream.isatty() and _ours(fd) else None
    except (ImportError, OSError, ValueError):  # no terminal here, or none of this kind
        before = None
    if before is None:
        yield False
        return
    loop, typing = asyncio.get_running_loop(), KeyPresses()

    def read() -> None:
        if not _ours(fd):  # sent to the background: what is typed belongs to somebody else
            return
        try:
            typed = os.read(fd, 64)
        except OSError:  # the terminal has gone
            typed = b""
        if not typed:
            loop.remove_reader(fd)
        for text in typing.push(typed):
            press(text)

    tty.setcbreak(fd)
    loop.add_reader(fd, read)
    try:
        yield True
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _ours(fd: int) -> bool:
    """Return whether this process may read the terminal without being stopped for it."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # a terminal that controls nobody
        return True
