"""The exit status of a run."""

from __future__ import annotations

import os
import tty

import pytest

from innpar.stream.app.run import message_options
from innpar.stream.app.settings import load
from innpar.stream.cli.main import main
from innpar.stream.mqtt.publisher import MOST_WAVES


@pytest.mark.slow
def test_a_run_without_one_sample_fails(capsys: pytest.CaptureFixture[str]) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    port = os.ttyname(slave)
    try:
        status = main(["--device", f"serial:{port}", "--duration", "1", "--broker", "embedded"])
    finally:
        os.close(master)
        os.close(slave)
    assert status == 1
    assert "0 s of signal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "wearers", "published"),
    [
        (None, MOST_WAVES, "json"),
        (None, MOST_WAVES + 1, "off"),
        ("on", 1000, "json"),
        ("json", 1000, "json"),
        ("raw", 1000, "raw"),
        ("off", 1, "off"),
    ],
)
def test_waveforms_are_published_for_a_few_or_on_request(
    given: str | None, wearers: int, published: str
) -> None:
    settings = load({"waveform": given}, None, {})
    assert message_options(settings, wearers).waveform == published
