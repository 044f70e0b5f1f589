"""Text from outside (names, markers, subjects, topics) made safe for where it is shown.

A control character can move the cursor of a terminal or forge a line of a log, and a cell that
begins with ``=`` is a formula to a spreadsheet.
"""

from __future__ import annotations

import html
import logging
from typing import Any

LONGEST: int = 200
"""Characters shown of one text."""
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def printable(value: Any, longest: int = LONGEST) -> str:
    """Return a text on one line, without control characters, at most `longest` characters long."""
    text = value if isinstance(value, str) else "?"
    return "".join(c if c.isprintable() else "·" for c in text[:longest])


def cell(text: str) -> str:
    """Return a text as a cell of a table that no spreadsheet takes for a formula."""
    shown = printable(text, len(text))
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def escape(text: str) -> str:
    """Return a text for HTML or XML, with neither markup nor control characters."""
    return html.escape(printable(text, len(text)), quote=True)


class OneLine(logging.Formatter):
    """Formatter of a log in which a text from outside cannot begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:  # a traceback of our own has its lines
            return super().format(record)
        return printable(super().format(record), 4000)
