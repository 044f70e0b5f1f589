"""Dockerfile, compose.yaml, telegraf.conf and the dashboard of beats.

There is no Docker in the tests: the files are read, the package is built from the files that the
Dockerfile copies, and a run is started with its settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from innpar.stream.app.settings import load
from innpar.stream.mqtt.address import Address
from support.brokers import free_port
from support.paths import ROOT
from support.waiting import wait_for

DEPLOY = ROOT / "examples/deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
TELEGRAF = tomllib.loads((DEPLOY / "telegraf.conf").read_text())
INSTRUCTIONS = {"ARG", "FROM", "USER", "RUN", "WORKDIR", "COPY", "ENV", "VOLUME"} | {
    "HEALTHCHECK",
    "STOPSIGNAL",
    "ENTRYPOINT",
}
TYPES = {
    "float": {"number"},
    "int": {"integer"},
    "bool": {"boolean"},
    "string": {"string"},
}
"""Type in telegraf.conf → types in the JSON schema."""


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line]


def environment() -> dict[str, str]:
    """Return the variables that the Dockerfile sets."""
    return dict(
        pair.split("=", 1)
        for name, rest in instructions()
        if name == "ENV"
        for pair in rest.split()
    )


def in_schema(path: str) -> dict[str, Any]:
    """Return the schema of a beat's value, by its GJSON path."""
    node = json.loads((ROOT / "stream/messages/schemas/beat.json").read_text())
    for key in path.split("."):
        node = node["items"] if key.isdigit() else node["properties"][key]
    found: dict[str, Any] = node
    return found


def test_the_dockerfile_has_known_instructions_and_ends_without_rights() -> None:
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    assert found[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    assert [rest.split()[0] for name, rest in found if name == "FROM"] == ["${BASE}", "${BASE}"]
    assert [rest for name, rest in found if name == "USER"][-1] == "10001"
    assert f'["{environment()["XDG_STATE_HOME"]}"]' in [r for n, r in found if n == "VOLUME"]
    for name, rest in found:
        if rest.startswith("["):
            assert isinstance(json.loads(rest), list), name


def test_the_settings_of_the_containers_are_ours() -> None:
    given = dict(environment())
    given |= {name: filled(text) for name, text in SERVICES["innpar-stream"]["environment"].items()}
    settings = load({}, None, given)
    assert settings.node == "ward-1"
    address = Address.parse(settings.broker or "")
    assert (address.host, address.port, address.tls) == ("mosquitto", 8883, True)
    unknown = {n for n in given if n.startswith("INNPAR_")} - {
        f"INNPAR_{key.upper()}" for key in type(settings).model_fields
    }
    assert unknown == set()


def filled(text: str) -> str:
    """Return a value of compose.yaml with its variables' defaults, or `secret`."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda v: v[1] or "secret", text)


def test_every_file_that_compose_mounts_exists_or_is_made_by_the_page() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    for name, service in SERVICES.items():
        assert ("image" in service) != ("build" in service), name
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if not source.startswith("./"):
                assert source in COMPOSE["volumes"], volume
            elif source.startswith("./secrets/"):
                assert source.removeprefix("./secrets/") in page, volume
            else:
                assert (DEPLOY / source).exists(), volume
    for variable in re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()):
        assert variable in page
    build = SERVICES["innpar-stream"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_secrets_stay_out_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/examples/deploy/.env", "/examples/deploy/secrets/"} <= set(ignored)


def test_telegraf_reads_what_a_beat_has() -> None:
    (source,) = TELEGRAF["inputs"]["mqtt_consumer"]
    (beat,) = source["json_v2"]
    rights = (DEPLOY / "mosquitto/acl").read_text().partition(f"user {source['username']}\n")[2]
    for topic in source["topics"]:
        assert f"topic read {topic}\n" in rights.partition("\nuser ")[0]
    assert source["servers"] == ["ssl://mosquitto:8883"]
    assert in_schema(beat["timestamp_path"])["type"] == "number"
    for tag in beat["tag"]:
        assert in_schema(tag["path"])
    for field in beat["field"]:
        node = in_schema(field["path"])
        kinds = node.get("type", "string" if "enum" in node else None)
        kinds = {kinds} if isinstance(kinds, str) else set(kinds)
        assert kinds - {"null"} == TYPES[field["type"]], field["path"]


def test_a_value_that_may_be_missing_is_optional_for_telegraf() -> None:
    """One that is not optional would cost the whole beat."""
    required = json.loads((ROOT / "stream/messages/schemas/beat.json").read_text())["required"]
    (beat,) = TELEGRAF["inputs"]["mqtt_consumer"][0]["json_v2"]
    for field in beat["field"]:
        first, *rest = field["path"].split(".")
        node = in_schema(first)
        always = first in required and (not rest or node["type"] == "object")
        assert always or field.get("optional"), field["path"]


def test_the_dashboard_reads_what_telegraf_writes() -> None:
    (beat,) = TELEGRAF["inputs"]["mqtt_consumer"][0]["json_v2"]
    written = {field.get("rename", field["path"].split(".")[-1]) for field in beat["field"]}
    board = json.loads((DEPLOY / "grafana/beats.json").read_text())
    queries = [target["query"] for panel in board["panels"] for target in panel["targets"]]
    read = {name for query in queries for name in re.findall(r'_field == "(\w+)"', query)}
    assert len(read) >= 9
    assert read <= written
    (output,) = TELEGRAF["outputs"]["influxdb_v2"]
    bucket = SERVICES["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_BUCKET"]
    assert output["bucket"] == bucket
    assert all(f'from(bucket: "{bucket}")' in query for query in queries)
    assert all(f'_measurement == "{beat["measurement_name"]}"' in query for query in queries)
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/influxdb.yaml").read_text()
    )["datasources"]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    assert source["url"] == output["urls"][0]
    (provider,) = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/beats.yaml").read_text()
    )["providers"]
    assert any(provider["options"]["path"] in volume for volume in SERVICES["grafana"]["volumes"])


@pytest.mark.slow
def test_the_copied_files_build_the_package(tmp_path: Path) -> None:
    for name, rest in instructions():
        if name != "COPY" or rest.startswith("--from"):
            continue
        *sources, target = rest.split()
        for source in (path for pattern in sources for path in ROOT.glob(pattern)):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.so")
                shutil.copytree(source, tmp_path / target, ignore=ignored)
            else:
                shutil.copy2(source, tmp_path / target)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "-w", str(tmp_path / "out"), "."],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("innpar_stream-*.whl"))) == 1


@pytest.mark.slow
def test_the_health_check_passes_while_a_run_streams(tmp_path: Path) -> None:
    port = str(free_port())
    given = {**environment(), "XDG_STATE_HOME": str(tmp_path), "INNPAR_DEVICE": "demo"}
    del given["PATH"]
    given["INNPAR_METRICS"] = given["INNPAR_METRICS"].replace("8787", port)
    given["INNPAR_BROKER"] = f"mqtt://127.0.0.1:{free_port()}"  # away: a run bears it
    given["INNPAR_BROKER_WAIT"] = "retry"
    (check,) = (rest for name, rest in instructions() if name == "HEALTHCHECK")
    _, *arguments = json.loads(check.partition("CMD ")[2].replace("8787", port))

    def healthy() -> bool:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    assert not healthy()
    command = [sys.executable, "-m", "innpar.stream.cli.main"]
    with subprocess.Popen(
        command, env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        try:
            wait_for(healthy)
        finally:
            run.terminate()
