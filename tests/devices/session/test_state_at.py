"""Events still valid at a later position of a recording."""

from __future__ import annotations

from innpar.devices import NS, Event
from innpar.devices.session.state_at import StateAt

START = 1_700_000_000 * NS


def test_of_the_readings_that_a_recording_begins_with_the_newest_applies() -> None:
    """They are at one time, the oldest first."""
    state = StateAt(START + 60 * NS, None)
    for sbp, age in ((121, 900.0), (128, 600.0), (133, 30.0)):
        detail = {"sbp": sbp, "dbp": 79, "remembered": {"age_s": age}}
        assert state.takes(Event("demo", "cuff", START, START, detail))
    notice, reading = state.due()
    assert "133/79 applies" in notice.detail["text"]
    assert reading.detail["sbp"] == 133
    assert list(state.due()) == []
