"""Nothing slow on the event loop, from the start of a run to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST = 0.1
"""s of the loop's own CPU time in one callback."""

MEASURED = """
import asyncio, sys, threading, time
from innpar.stream.app import run
from innpar.stream.app.settings import load

longest, imported, streaming = (0.0, ""), [], [False]
plain = asyncio.events.Handle._run


def measured(handle):
    global longest
    began = time.thread_time()
    plain(handle)
    longest = max(longest, (time.thread_time() - began, repr(handle)[:300]))


def hook(event, arguments):
    on_loop = threading.current_thread() is threading.main_thread()
    if event == "import" and streaming[0] and on_loop and arguments[0] not in sys.modules:
        imported.append(arguments[0])


begin, end = run._stream, run._close


async def stream(parts):
    streaming[0] = True
    await begin(parts)
    streaming[0] = False


run._stream = stream
asyncio.events.Handle._run = measured
sys.addaudithook(hook)
settings = load(
    {"device": ["demo"], "broker": "embedded", "cuff": ["128/79@3", "126/78@9"], "duration": "12",
     "record": sys.argv[1], "fhir": True, "node": "bed4"}, None, {})
assert run.start(settings) == 0
print(f"{longest[0]:.3f} {longest[1]}")
print(" ".join(imported))
"""


@pytest.mark.slow
def test_no_callback_is_long_and_nothing_is_imported_while_streaming(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"{tmp_path}/recordings/"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    *_, longest, imported = done.stdout.split("\n")[:-1]
    assert imported.strip() == ""
    assert float(longest.split()[0]) < LONGEST, longest
