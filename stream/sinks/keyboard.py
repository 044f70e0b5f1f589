"""Key presses in the terminal as markers; the terminal's mode is restored afterwards."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

MOVED = "!"
"""Key that reports that the sensor was moved."""
NAMES = {" ": "mark", MOVED: MOVED}
"""Key → text of its marker; letters and digits are their own text."""


SEQUENCE = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O])", re.DOTALL)
"""Escape sequence of an arrow, a function key, or a key with Alt."""
CUT = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*|O)?$")
"""Beginning of an escape sequence, or the escape key alone."""


class KeyPresses:
    """Extract marker keys from terminal input; escape sequences are ignored."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._pending = ""

    def push(self, typed: bytes) -> list[str]:
        """Add input and return the texts of its markers."""
        more = self._decoder.decode(typed)
        if self._pending == "\x1b" and more and not re.match(r"[\[O].", more):
            self._pending = ""  # the escape key alone
        text = SEQUENCE.sub("", self._pending + more)
        cut = CUT.search(text)
        self._pending = cut[0] if cut else ""
        if cut:
            text = text[: cut.start()]
        return [NAMES.get(key, key) for key in text if key in NAMES or key.isalnum()]


@contextmanager
def listening(stream: IO[Any], press: Callable[[str], None]) -> Iterator[bool]:
    """Call `press` with a marker's text for every key press inside the context.

    Args:
        stream: Standard input.
        press: Callback; its text is ``mark`` for the space bar, else the letter or digit, or
            `MOVED`.

    Yields:
        Whether keys can be read: the stream is a terminal with this process in the foreground.
    """
    try:
        import termios
        import tty

        fd = stream.fileno()
        before = termios.tcgetattr(fd) if stream.isatty() and _in_foreground(fd) else None
    except (ImportError, OSError, ValueError):  # no terminal, or an unsupported one
        before = None
    if before is None:
        yield False
        return
    loop, typing = asyncio.get_running_loop(), KeyPresses()

    def read() -> None:
        if not _in_foreground(fd):  # in the background: input belongs to another process
            return
        try:
            typed = os.read(fd, 64)
        except OSError:  # the terminal was closed
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


def _in_foreground(fd: int) -> bool:
    """Return whether this process is in the terminal's foreground and may read from it."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # not a controlling terminal
        return True
