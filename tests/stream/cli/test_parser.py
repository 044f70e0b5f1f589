"""Wrong command lines: each answer is at most two lines and names the remedy."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from innpar.stream.cli.main import main

WRONG = {
    "--device": "--device needs a value: --device ",
    "--device a.csv": "innpar-stream replay a.csv",
    "--device ./night/rec.edf --cuff 128/79": "innpar-stream replay ./night/rec.edf",
    "--device a.csv?rate=64": "innpar-stream replay a.csv?rate=64",
    "--device serail:/dev/ttyUSB0": "did you mean serial",
    "--device demo --cuff": "--cuff needs a value: --cuff ",
    "--device demo --json=5": "--json takes no value, not '5'",
    "replay a.csv b.csv": "b.csv is one argument too many",
    "--devise demo": "did you mean --device?",
    "--device dem": "did you mean demo?",
    "--device polar-verty": "did you mean polar-verity",
    "--device ble:00": "choose from demo",
    "--device demo --device demo": "demo:NUMBER",
    "--device demo x": "choose from replay, devices",
    "--device demo --json maybe": "choose from replay, devices",
    "--device demo --durations 5": "did you mean --duration?",
    "--device demo --duration soon": "must be seconds, or a time such as 5m",
    "--device demo --duration -5": "must be greater than 0",
    "--device demo --speed fast": "must be a valid number",
    "--device demo --speed 0": "must be greater than",
    "--device demo --cuff 128": "such as 128/79",
    "--device demo --cuff 79/128": "such as 128/79",
    "--device demo --cuff 128/79@soon": "[@SECONDS]",
    "--device demo --broker": "innpar-stream --help",
    "--device demo --broker http://x": "write mqtt://",
    "--device demo --broker mqtt://h:x": "a number from 1 to 65535",
    "--device demo --compute gpu": "auto, cpu, cuda",
    "--device demo --model none": "give a manifest.json or its folder",
    "--device demo --config none.toml": "config init none.toml",
    "--device demo --waveform csv": "'on', 'raw' or 'off'",
    "--device demo --beats-on none": "'both', 'estimates' or 'devices'",
    "--device demo --topic bp/": "must not contain",
    "--device demo --record none/x.mcap": "name another place",
    "--device demo?seed=x": "a number from 0",
    "--device demo?sed=1": "did you mean seed?",
    "--device lsl?rate=5": "it has: channel",
    "--device serial": "serial:/dev/ttyUSB0",
    "--device serial:/dev/none": "plug it in",
    "--device replay:": "replay:FILE",
    "--device replay:none.csv": "check the path",
    "--device replay:.": "choose a file in it",
    "--device replay:a.csv": "replay plays",
    "--port 5": "innpar-stream --help",
    "seson": "did you mean session?",
    "runn": "choose from replay, devices",
    "replay": "is missing",
    "replay none.mcap": "check the path",
    "replay a.csv --form 5": "did you mean --from?",
    "replay a.csv --speed x": "must be a valid number",
    "session": "innpar-stream session info night.mcap",
    "session exprot a.mcap": "did you mean export?",
    "session export": "session export night.mcap",
    "session export a.mcap --format edff": "did you mean edf?",
    "session info none.mcap": "check the path",
    "session info a.csv": "is this the right one?",
    "session cut a.csv": "add the name of the file to write",
    "session cut none.mcap b.mcap --from 5 --to 1": "must be later than --from=5",
    "session plot a.mcap --at": "session --help",
    "report": "report night.mcap night.html",
    "report none.mcap": "check the path",
    "report a.mcap --pdf": "report --help",
    "calibrate": "such as 128/79, --moved, or --undo",
    "calibrate 128": "such as 128/79",
    "calibrate 128/79 --undo": "--undo to withdraw",
    "calibrate 128/79 --broker": "calibrate --help",
    "calibrate 128/79 --devcie x": "did you mean --device?",
    "model": "model import checkpoint.pth",
    "model exprot shipped out": "did you mean export?",
    "model export none": "model export my-model compiled",
    "model export none out --target onx": "did you mean onnx?",
    "config write": "choose from init",
    "config": "config init lab.toml",
    "devices x": "innpar-stream devices",
    "doctor --fast": "doctor --help",
    "scan --seconds x": "must be a number, not 'x'",
    "scan polar": "scan --help",
    "decode": "decode polar-verity capture.txt",
    "decode polar-verity none.txt": "decode polar-verity capture.txt",
    "decode polar-vertiy a.csv": "did you mean polar-verity",
    "watch --brokr x": "did you mean --broker?",
    "view none.mcap": "check the path",
    "view --prot 5": "view --help",
    "evaluate": "evaluate --data recordings",
    "evaluate --splt val": "did you mean --split?",
    "evaluate --data . --split val --every x": "must be a whole number, not 'x'",
    "train --otu x": "train --help",
    "train --data .": "--out is missing",
    "bench x": "bench --help",
}
"""Command line → a part of the remedy in its answer."""


@pytest.mark.parametrize("line", WRONG)
def test_the_answer_is_two_lines_with_the_remedy(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("hello\nworld\n", encoding="utf-8")
    try:
        status = main(shlex.split(line))
    except SystemExit as ended:
        status = int(ended.code or 0)
    answer = capfd.readouterr().err
    assert status == 2
    assert WRONG[line] in answer
    assert all(text.startswith("innpar-stream: ") for text in answer.splitlines())
    assert len(answer.splitlines()) <= 2


def test_the_table_is_long_enough() -> None:
    assert len(WRONG) >= 60


@pytest.mark.parametrize("package", ["scipy", "torch"])
def test_a_missing_package_is_named_with_its_extra(package: str, tmp_path: Path) -> None:
    if package != "torch":
        pytest.importorskip("torch")  # which is missed first
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from innpar.stream.cli.main import main\n"
        "sys.exit(main(['train', '--data', '.', '--out', 'm']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.stderr == f"innpar-stream: this needs {package}: scripts/setup train\n"
    assert ran.returncode == 2
