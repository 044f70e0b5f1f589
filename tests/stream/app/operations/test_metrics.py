"""Metrics and health of a real run with a real broker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.brokers import Broker, Mosquitto
from support.paths import ROOT
from support.waiting import wait_for as until

parser = pytest.importorskip("prometheus_client.parser", reason="needs scripts/setup dev")
TOKEN = "a-token-of-this-test-alone"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def command(broker: Mosquitto, *more: str) -> list[str]:
    run = [sys.executable, "-m", "innpar.stream.cli.main", "--device", "demo", "--node", "bed4"]
    return [*run, "--broker", broker.url, *more]


class Serving:
    """A run that serves metrics."""

    def __init__(self, process: subprocess.Popen[str], lines: Iterator[str]) -> None:
        self.process = process
        line = next(one for one in lines if re.match(r"(metrics|live page): ", one))
        self.url = line.partition(": ")[2].partition("/?")[0].partition("/metrics")[0].strip()

    def get(self, name: str, **headers: str) -> tuple[int, str, str]:
        request = urllib.request.Request(f"{self.url}/{name}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def metrics(self) -> Samples:
        _, _, text = self.get("metrics")
        families = parser.text_string_to_metric_families(text)
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for family in families
            for one in family.samples
        }

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("health")[2])
        return found


@pytest.fixture
def serving(mosquitto: Broker, tmp_path: Path) -> Iterator[tuple[Serving, Mosquitto]]:
    broker = mosquitto()
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    arguments = command(broker, "--metrics", "0", "--token-file", str(token), "--speed", "8")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            yield Serving(run, iter(run.stdout)), broker
        finally:
            run.terminate()
            run.stdout.read()


@pytest.mark.slow
def test_a_run_is_measured(serving: tuple[Serving, Mosquitto]) -> None:
    run, broker = serving
    demo = (("device", "demo"),)
    until(lambda: run.metrics().get(("innpar_beats_total", (*demo, ("valid", "true"))), 0) > 8)
    status, kind, _ = run.get("metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert run.health()["status"] == "ok"
    found = run.metrics()
    beats = sum(
        found["innpar_beats_total", (*demo, ("valid", valid))] for valid in ("true", "false")
    )
    for stage in ("sensor", "guard", "lookahead", "hop", "beat", "compute"):
        assert found["innpar_latency_seconds_count", (("stage", stage),)] == beats
    assert found["innpar_device_online", demo] == 1
    assert found["innpar_signal_seconds_total", demo] > 5
    assert found["innpar_network_inputs_total", ()] >= found["innpar_network_batches_total", ()] > 0
    assert found["innpar_outbox_delay_seconds_count", ()] > 8
    assert found["innpar_broker_connected", ()] == 1
    assert found["innpar_broker_reconnects_total", ()] == 0
    assert found["process_resident_memory_bytes", ()] > 10e6

    broker.kill()
    until(lambda: run.metrics()["innpar_broker_connected", ()] == 0)
    assert run.health()["status"] == "degraded"
    broker.start()
    until(lambda: run.metrics()["innpar_broker_reconnects_total", ()] == 1)
    until(lambda: run.health()["status"] == "ok")


@pytest.mark.slow
def test_the_token_rule_is_that_of_the_page(serving: tuple[Serving, Mosquitto]) -> None:
    run, _ = serving
    for name in ("metrics", "health"):
        assert run.get(name, Host="ward.example")[0] == 403
        assert run.get(name, Origin="http://evil.example")[0] == 403
        assert run.get(name, Authorization=f"Bearer {TOKEN}")[0] in (200, 503)
    assert run.get("")[0] == 404  # no page without --view
    assert run.get("main.js")[0] == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--view", "0", "--metrics", "9273"], "give the address to --view"),
        (["--metrics", "no:port"], "not [HOST:]PORT"),
        (["--metrics", "0", "--token-file", "absent"], "cannot be read"),
        (["--metrics", "0", "--token-file", "short"], "at least 16 characters"),
    ],
)
def test_a_wrong_setting_is_one_line(
    mosquitto: Broker, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "short").write_text("1234\n")
    done = subprocess.run(
        command(mosquitto(), *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_dashboard_asks_for_metrics_that_exist(serving: tuple[Serving, Mosquitto]) -> None:
    board = json.loads((ROOT / "examples/deploy/grafana/innpar-stream.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"(?:innpar|process)_\w+", target["expr"])
    }
    run, _ = serving
    until(lambda: run.metrics().get(("innpar_device_online", (("device", "demo"),))))
    declared = set(re.findall(r"# TYPE (\S+) ", run.get("metrics")[2]))
    declared |= {f"{name}_bucket" for name in declared}
    # Present only with a sensor's own clock, or beats without pressures.
    rare = {"innpar_clock_skew_ppm", "innpar_beats_withheld_total"}
    assert len(asked) > 15
    assert asked - declared <= rare
