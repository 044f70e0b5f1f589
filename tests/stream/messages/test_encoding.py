"""Times as text and as numbers."""

from __future__ import annotations

from innpar.stream.messages.encoding import iso, seconds
from support.items import START


def test_time_and_t_say_the_same_to_the_millisecond() -> None:
    assert iso(1_999_999_999) == "1970-01-01T00:00:02.000Z"
    assert seconds(1_999_999_999) == 2.0
    assert (iso(START), seconds(START)) == ("2026-11-23T14:19:40.312Z", 1795443580.312)
