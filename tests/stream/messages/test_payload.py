"""Replies to commands."""

from __future__ import annotations

import json

from innpar.stream.messages.payload import reply_parcel
from support.schemas import schema


def test_an_answer_says_whether_it_went_well() -> None:
    good = reply_parcel("calibrate", "demo", None, "app/7", b"\x01")
    bad = reply_parcel("mark", "demo", "'text' is 1 to 500 characters", "app/7", None)
    for sent in (good, bad):
        schema("reply").validate(json.loads(sent.payload))
    assert (good.topics, good.correlation) == (("app/7",), b"\x01")
