"""The exit status of a run."""

from __future__ import annotations

import os
import tty

import pytest

from innpar.stream.cli.main import main


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
