"""Every command and snippet of the README and the documentation, run as it stands there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from support.brokers import Mosquitto
from support.harness import need_dbus
from support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ ]*)```([a-z]*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\.venv/bin/)?innpar-stream [^`\n]*)`")
PROGRAM = [sys.executable, "-m", "innpar.stream.cli.main"]
SECONDS = "3"

OTHERS = {
    "devices.md": "tests/devices/conformance runs its device",
    "add-a-sensor.md": "tests/devices/sensors/test_gatt.py runs its sensor",
    "add-an-export.md": "a form to fill in",
    "add-a-command.md": "a form to fill in",
}
"""Pages whose Python is not run here → why."""

NOT_RUN = {
    "train": "takes the better part of an hour",
    "evaluate": "takes minutes; tests/stream/evaluation runs it",
    "bench": "takes minutes; tests/stream/evaluation runs it",
    "scan": "needs a radio",
    "view": "serves until stopped; tests/stream/view runs it",
    "model": "needs a checkpoint; tests/models/formats runs it",
}
"""Commands that are parsed, not run → why."""


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            line = text[: found.start()].count("\n") + 1
            yield Snippet(page, line, found[2], textwrap.dedent(found[3]))


SNIPPETS = list(snippets())


def commands() -> list[Snippet]:
    """Return every ``innpar-stream`` and ``mosquitto_…`` line of the pages, once each."""
    found: dict[str, Snippet] = {}
    for one in SNIPPETS:
        if one.language in ("", "sh", "console"):
            for offset, line in enumerate(one.text.splitlines(), 1):
                text = re.sub(r"\s+#.*$", "", line).strip()
                if re.match(r"(\.venv/bin/)?innpar-stream |mosquitto_", text):
                    found.setdefault(text, Snippet(one.page, one.line + offset, "sh", text))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for inline in INLINE.finditer(FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)):
            line = text[: inline.start()].count("\n") + 1
            found.setdefault(inline[1].strip(), Snippet(page, line, "sh", inline[1].strip()))
    return [one for text, one in found.items() if "…" not in text]


def words(command: str) -> list[str]:
    """Split a line as a shell does, without what comes after a pipe or a redirection."""
    return shlex.split(re.split(r"\s[|>]", command.removeprefix(".venv/bin/"))[0])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("desk")
    run = [*PROGRAM, "--device", "demo", "--speed", "max", "--duration", "1000"]
    run += ["--record", "night.mcap", "--cuff", "128/79", "--broker", "embedded"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True, timeout=110)
    for name in ("FILE", "walk.mcap"):
        (folder / name).write_bytes((folder / "night.mcap").read_bytes())
    times = np.arange(0, 30, 0.02)
    pulse = 1000 + 100 * np.sin(7 * times)
    rows = "\n".join(f"{t:.2f},{v:.1f}" for t, v in zip(times, pulse, strict=True))
    (folder / "walk.csv").write_text(f"time,green\n{rows}\n")
    return folder


LIMITS = {
    "mosquitto_sub": ["-C", "1", "-W", "30"],
    "mosquitto_pub": [],
    "mosquitto_rr": ["-W", "30"],
}
"""Arguments that end a client of mosquitto, which would listen for ever."""
TO_BROKER = ("run", "replay", "watch", "calibrate", "doctor", "forget")
"""Commands that connect to a broker."""


def runnable(given: list[str], port: int) -> list[str]:
    """Return a page's command as it can run here: virtual sensors, our broker, a few seconds."""
    command = given[1] if len(given) > 1 and not given[1].startswith("-") else "run"
    out = [*PROGRAM, *given[1:]]
    if command in TO_BROKER and "--broker" not in given:
        out += ["--broker", f"mqtt://127.0.0.1:{port}"]
    if command == "run":
        if "--device" not in given:
            out += ["--device", "demo"]
        out += ["--duration", SECONDS]
        if any(word.startswith(("polar", "cuff")) for word in given) and "--virtual" not in given:
            out += ["--virtual"]
    if command == "replay":
        out += [] if "--speed" in given else ["--speed", "max"]
        out += ["--duration", SECONDS]
    return out


@contextmanager
def going_on(broker: Mosquitto, folder: Path) -> Iterator[None]:
    """Stream the simulated wearer in the background."""
    command = [*PROGRAM, "--device", "demo", "--cuff", "120/80", "--broker", broker.url]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        waiting = ["mosquitto_sub", "-p", str(broker.port), "-t", "bp/estimates", "-C", "1"]
        subprocess.run(waiting, check=True, capture_output=True, timeout=60)
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_every_optional_package_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = page[page.index("## Optional packages") :].split("\n## ")[0]
    first = re.findall(r"^\| (`[^|]*`) \|", rows, re.MULTILINE)
    listed = re.findall(r"`([a-z]+)`", " ".join(first))
    assert sorted(listed) == sorted(project["optional-dependencies"])


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) > 20
    assert len(commands()) > 30


@pytest.mark.parametrize("snippet", commands(), ids=str)
def test_every_command_is_one_of_ours(snippet: Snippet) -> None:
    given = words(snippet.text)
    if given[0] != "innpar-stream":
        return
    bare = all(word.isalpha() for word in given[1:])  # only named, as in "`innpar-stream train`"
    result = subprocess.run(
        [*PROGRAM, *(w for w in given[1:2] if w.isalpha()), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    flags = {word.partition("=")[0] for word in given[1:] if word.startswith("--")}
    assert bare or flags <= set(re.findall(r"--[a-z-]+", result.stdout)), snippet.text


def runs_here(snippet: Snippet) -> bool:
    """Return whether a command is run, and not only parsed."""
    given = words(snippet.text)
    if len(given) < 3 and "doctor" not in given:
        return False
    made_up = any(word.startswith(("blinker", "glow", "json-")) for word in given)  # no sender here
    if given[0] != "innpar-stream":
        return given[0] in LIMITS
    return not (given[1] in NOT_RUN or made_up)


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [c for c in commands() if runs_here(c)], ids=str)
def test_every_command_runs(
    snippet: Snippet, desk: Path, tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    given = [word.replace("DEVICE", "demo") for word in words(snippet.text)]
    command = given[1] if not given[1].startswith("-") else "run"
    if any(word.startswith("polar") for word in given):
        need_dbus()
    folder = tmp_path / "desk"
    shutil.copytree(desk, folder)
    if "--record" in given:  # nothing is ever overwritten
        (folder / "night.mcap").unlink()
    if command == "decode":
        (folder / "FILE").write_text("")
    broker = mosquitto()
    if given[0] == "innpar-stream" and command not in ("watch", "calibrate"):
        result = ended(runnable(given, broker.port), folder)
        # A doctor may find something, and nothing is kept here of a wearer.
        fine = (0, 1) if command in ("doctor", "forget") else (0,)
        assert result.returncode in fine, result.stderr
        return
    with going_on(broker, folder):
        if given[0] != "innpar-stream":
            seen = ended([given[0], "-p", str(broker.port), *given[1:], *LIMITS[given[0]]], folder)
            assert seen.returncode == 0, seen.stderr
        elif command == "watch":
            assert first_line(runnable(given, broker.port), folder)
        else:
            seen = ended(runnable(given, broker.port), folder)
            assert seen.returncode == 0, seen.stderr


def ended(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in result.stderr, result.stderr
    return result


def first_line(command: list[str], folder: Path) -> str:
    """Return the first line that a command prints which does not end by itself."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            return lines.readline()
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:There are .* missing data points")  # as sessions.md says
@pytest.mark.parametrize(
    "snippet",
    [s for s in SNIPPETS if s.language == "python" and s.page.name not in OTHERS],
    ids=str,
)
def test_every_snippet_runs(
    snippet: Snippet, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "desk"
    shutil.copytree(desk, folder)
    monkeypatch.chdir(folder)
    ppg = np.sin(2 * np.pi * 1.2 * np.arange(0, 60, 0.01))
    properties = SimpleNamespace(UserProperty=[("t", "0.0"), ("rate", "125")])
    message = SimpleNamespace(payload=np.zeros(4, "<f4").tobytes(), properties=properties)
    names: dict[str, Any] = {"ppg": ppg, "numpy": np, "np": np, "message": message}
    text = snippet.text.replace("polar-verity", "demo")
    code = compile(text, str(snippet), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def run() -> None:
        outcome = eval(code, names)
        if inspect.isawaitable(outcome):
            with suppress(TimeoutError):  # a live stream has no end
                async with asyncio.timeout(12):
                    await outcome

    asyncio.run(run())


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.language in ("json", "toml")], ids=str
)
def test_every_example_can_be_read(snippet: Snippet) -> None:
    if snippet.language == "toml":
        tomllib.loads(snippet.text)
    else:
        json.loads(snippet.text)
