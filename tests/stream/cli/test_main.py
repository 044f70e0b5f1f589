"""The command line: errors of one line each, complete runs, Ctrl-C."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from innpar.models.predictor import SHIPPED
from innpar.stream.app.settings import KEYS, load
from innpar.stream.cli import commands, run
from innpar.stream.cli.main import COMMANDS, main
from innpar.stream.errors import ConfigError
from support.harness import need_data
from support.waiting import wait_for

PROGRAM = [sys.executable, "-m", "innpar.stream.cli.main"]


def fails(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the message of a command that cannot start; no traceback, nothing on stdout."""
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert out == ""
    lines = err.strip().splitlines()
    assert all(line.startswith("innpar-stream: ") for line in lines), err
    assert len(lines) >= 1
    return err


def runs(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Return standard output and standard error of a command, run in this process."""
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return out, err


def test_help_is_quick_and_shows_an_example() -> None:
    best = min(_seconds([*PROGRAM, "--help"]) for _ in range(3))
    shown = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    assert "innpar-stream --device polar-verity" in shown.stdout
    assert "not a medical device" in shown.stdout
    heavy = (
        "import sys; import innpar.stream.cli.main; "
        "print({'torch', 'numpy', 'pydantic', 'rich', 'bleak', 'aiomqtt'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "set()"
    assert best < 5  # under half a second on an idle computer, as nothing heavy is imported


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "innpar", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == version("innpar-stream")


def test_every_command_is_a_file_and_a_row() -> None:
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert modules == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    about = COMMANDS[name]
    assert f"{about[0].upper()}{about[1:]}." in " ".join(shown.split())
    assert re.search(rf"^  innpar-stream {name}", shown, re.MULTILINE)


def test_every_setting_has_a_flag_and_is_in_the_commented_configuration() -> None:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert set(vars(parser.parse_args([]))) == {*KEYS, "config"}
    text = files("innpar.configs").joinpath("default.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:# )?([a-z_]+) = ", text, re.MULTILINE)) == set(KEYS)


def test_where_the_network_runs(capfd: pytest.CaptureFixture[str]) -> None:
    message = fails(capfd, "--device", "demo", "--compute", "gpu")
    assert message == (
        "innpar-stream: --compute: must be auto, cpu, cuda or cuda:N (given: 'gpu')\n"
    )


@pytest.mark.parametrize(
    ("flag", "value", "remedy"),
    [
        ("--duration", "soon", "must be seconds, or a time such as 5m"),
        ("--duration", "5 days", "must be seconds, or a time such as 5m"),
        ("--duration", "0", "must be greater than 0"),
        ("--waveform", "csv", "must be 'on', 'raw' or 'off'"),
        ("--topic", "bp/", "must not contain +, # or a space, nor begin or end with /"),
    ],
)
def test_a_value_out_of_range_names_the_range(
    capfd: pytest.CaptureFixture[str], flag: str, value: str, remedy: str
) -> None:
    message = fails(capfd, "--device", "demo", flag, value)
    assert message == f"innpar-stream: {flag}: {remedy} (given: {value!r})\n"


def _seconds(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - began


def test_devices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"demo", "replay", "polar-verity"} <= set(names)


def test_no_device(capfd: pytest.CaptureFixture[str]) -> None:
    assert "innpar-stream devices" in fails(capfd)


def test_an_unknown_device_suggests_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    assert "polar-verity" in fails(capfd, "--device", "polar-verty")


def test_two_devices_of_one_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert "demo" in fails(capfd, "--device", "demo", "--device", "demo")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("empty.csv", b""),
        ("garbage.csv", np.random.default_rng(0).bytes(20_000)),
        ("cut.gz", gzip.compress(np.random.default_rng(0).bytes(50_000))[:3000]),
        ("words.csv", b"once upon\na time\n"),
    ],
)
def test_files_that_are_not_recordings(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert name in fails(capfd, "--device", f"replay:{tmp_path / name}", "--broker", "embedded")


def test_the_options_named_by_an_error_work(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "clip_100Hz.csv.gz"
    rows = "".join(f"{1000 + n % 80}\n" for n in range(500))
    path.write_bytes(gzip.compress(f"ppg\n{rows}".encode()))
    assert "?rate=HZ" in fails(capfd, "replay", str(path))
    for words in ([f"{path}?rate=100"], [str(path), "--rate", "100"]):
        out, _ = runs(capfd, "replay", *words, "--speed", "max", "--broker", "embedded")
        assert "5 s of signal" in out
    assert "no column 'red'" in fails(capfd, "replay", str(path), "--channel", "red")
    own = fails(capfd, "replay", f"{path}?rate=100", "--loop", "2", "--broker", "embedded")
    assert "--loop needs a session recorded with --record" in own
    other = path.rename(tmp_path / "what?.csv")
    assert "rename it" in fails(capfd, "replay", str(other))


def test_a_folder_is_not_a_recording(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert str(tmp_path) in fails(capfd, "--device", f"replay:{tmp_path}")


def test_a_broker_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    message = fails(capfd, "--device", "demo", "--broker", "mqtt://127.0.0.1:9")
    assert "127.0.0.1:9" in message


def test_a_broker_that_refuses(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, mosquitto: Callable[..., Any]
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "right"],
        check=True,
        capture_output=True,
    )
    passwords.chmod(0o644)
    broker = mosquitto("allow_anonymous false", f"password_file {passwords}")
    url = f"mqtt://ann:wrong@127.0.0.1:{broker.port}"
    message = fails(capfd, "--device", "demo", "--broker", url)
    assert "wrong" not in message.replace("wrong user", "").replace("wrong password", "")
    assert fails(capfd, "--device", "demo", "--broker", broker.url)


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "mqtt://", "mqtt://h:x"])
def test_urls_that_are_not_brokers(capfd: pytest.CaptureFixture[str], url: str) -> None:
    assert "mqtt" in fails(capfd, "--device", "demo", "--broker", url)


def test_a_model_that_is_not_there_or_tampered_with(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = ("--device", "demo", "--broker", "embedded", "--model")
    assert "nowhere" in fails(capfd, *run, str(tmp_path / "nowhere" / "manifest.json"))
    copy = tmp_path / "model"
    shutil.copytree(SHIPPED, copy)
    script = next(copy.glob("*.pt"))
    script.write_bytes(script.read_bytes()[:-1] + b"!")
    assert script.name in fails(capfd, *run, str(copy))


def test_all_errors_of_a_configuration_are_listed_at_once(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('device = ["demo"]\nspeed = -1\ncolour = "red"\n')
    monkeypatch.setenv("INNPAR_DURATION", "soon")
    message = fails(capfd, "--config", str(file), "--cuff", "80/120")
    for expected in (f"{file}: speed", f"{file}: colour", "INNPAR_DURATION", "--cuff"):
        assert expected in message
    file.write_text("device = [")
    assert str(file) in fails(capfd, "--config", str(file))
    assert "config init" in fails(capfd, "--config", str(tmp_path / "no.toml"))


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('speed = 2\ntopic = "file"\nduration = 5\ndevice = ["a"]\n')
    environment = {"INNPAR_TOPIC": "environment", "INNPAR_SPEED": "3", "INNPAR_DEVICE": "b c"}
    settings = load({"speed": "max", "topic": None}, file, environment)
    assert settings.speed == float("inf")
    assert settings.topic == "environment"
    assert settings.duration == 5
    assert settings.device == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("5s", 5), ("5m", 300), ("1.5h", 5400), ("2 min", 120)]
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert load({"duration": text}, None, {}).duration == seconds


def test_a_configuration_is_written_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "innpar.toml"
    assert main(["config", "init", str(file)]) == 0
    assert load({}, file, {}).device == ["demo"]
    assert main(["config", "init", str(file)]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["128", "128/", "79/128", "128/79@soon", "1280/79"])
def test_invalid_cuff_readings(text: str) -> None:
    with pytest.raises(ConfigError, match="--cuff"):
        load({"cuff": [text]}, None, {})


@pytest.mark.slow
def test_beats_as_json_lines_follow_the_schema(capfd: pytest.CaptureFixture[str]) -> None:
    """``--json``: beats on standard output and nothing else; logs on standard error."""
    command = ("--device", "demo?seed=2", "--broker", "embedded", "--json")
    out, err = runs(capfd, *command, "--speed", "max", "--duration", "60")
    schema = json.loads(
        files("innpar.stream.messages").joinpath("schemas/beat.json").read_text(encoding="utf-8")
    )
    beats = [json.loads(line) for line in out.splitlines()]
    assert len(beats) > 40
    for beat in beats:
        jsonschema.validate(beat, schema)
        assert beat["source"] == "simulated"
        assert beat["research_only"] is True
    assert "s of signal per CPU-second" in err
    assert "population mean" in err


@pytest.mark.slow
def test_the_headline_command_on_a_virtual_radio(
    mosquitto: Callable[..., Any], listen: Callable[..., Any]
) -> None:
    """The real driver, scan to estimates on MQTT; only sensor and radio are virtual."""
    broker = mosquitto()
    heard = listen(broker.port, "bp/estimates", "bp/devices/+/state", "bp/devices/+/meta")
    command = [*PROGRAM, "--device", "polar-verity", "--virtual", "--broker", broker.url]
    subprocess.run([*command, "--duration", "12"], capture_output=True, check=True, timeout=100)
    beats = [message.json for message in heard.heard("bp/estimates")]
    assert len(beats) >= 5
    (device,) = {beat["device"] for beat in beats}
    assert device.startswith("polar-verity-")
    assert {beat["source"] for beat in beats} == {"simulated"}
    states = [message.payload for message in heard.heard(f"bp/devices/{device}/state")]
    assert states[-1] == "offline"
    assert heard.heard(f"bp/devices/{device}/meta")[-1].json["detail"]["channel"]


@pytest.mark.slow
def test_a_reader_that_leaves_ends_the_run() -> None:
    command = " ".join([*PROGRAM, "--device demo --broker embedded --speed max"])
    for flags in ("--json", ""):
        run = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command} {flags} | head -2"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert run.returncode == 0, run.stderr
        assert "Traceback" not in run.stderr
        assert len(run.stdout.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["by itself", "stopped"])
def test_a_reader_that_pauses_gets_every_line_of_a_run_that_ends_by_itself(
    ended: str, tmp_path: Path
) -> None:
    command = [*PROGRAM, "--device", "demo", "--broker", "embedded", "--speed", "max"]
    said = tmp_path / "said"
    with said.open("wb") as log:
        run = subprocess.Popen(
            [*command, "--duration", "200", "--json"], stdout=subprocess.PIPE, stderr=log
        )
    # The summary: all has been published.
    wait_for(lambda: b"CPU-second" in said.read_bytes() or run.poll() is not None)
    assert run.poll() is None
    time.sleep(1.5)
    if ended == "stopped":
        run.send_signal(signal.SIGINT)
        run.wait(60)  # though nobody reads
    out, _ = run.communicate(timeout=100)
    assert run.returncode == 0
    numbers = [json.loads(line)["seq"] for line in out.splitlines() if line.endswith(b"}")]
    assert numbers == list(range(len(numbers)))
    assert ("beats were not written" in said.read_text()) == (ended == "stopped")
    assert (len(numbers) > 200) == (ended == "by itself")


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        command = [*PROGRAM, "--device", "demo", "--broker", "embedded", "--speed", "max", "--json"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert "Traceback" not in run.stderr
    assert "No space left" in run.stderr


def test_a_reading_for_two_wearers_must_name_one(capfd: pytest.CaptureFixture[str]) -> None:
    two = ("--device", "demo:1", "--device", "demo:2")
    assert "demo-1=128/79" in fails(capfd, *two, "--cuff", "128/79")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = (tmp_path / "demo.log").open("wb")
    process = subprocess.Popen(
        [*PROGRAM, "--device", "demo", "--broker", "embedded"],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait(10)
    log.close()


def test_ctrl_c_ends_everything(demo: subprocess.Popen[bytes], tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    wait_for(lambda: b"mmHg" in log.read_bytes() or demo.poll() is not None, log.read_text)
    assert demo.poll() is None, log.read_text()
    children = subprocess.run(
        ["pgrep", "-P", str(demo.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert children, "the embedded broker is a process of its own"
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0
    for child in children:
        assert not Path(f"/proc/{child}").exists()
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
@pytest.mark.real
def test_a_summary_beside_the_trivial_baselines(capfd: pytest.CaptureFixture[str]) -> None:
    record = need_data() / "abp/vitaldb_125hz/case_0069.npz"
    command = ("--device", f"replay:{record}?from=600&to=900", "--broker", "embedded")
    _, err = runs(capfd, *command, "--speed", "max", "--json", "--cuff", "130/75")
    for line in ("this model", "population mean", "cuff reading held"):
        assert line in err
