"""The files of examples/deploy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.brokers import free_port
from support.paths import ROOT
from support.waiting import wait_for

DEPLOY = ROOT / "examples/deploy"
PASSWORDS = {"innpar": "correct-horse", "viewer": "battery-staple", "nurse": "paper-clips"}


class Ward:
    """A mosquitto with the example's configuration, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        _certify(folder)
        for user, password in PASSWORDS.items():
            create = [] if (folder / "passwords").exists() else ["-c"]
            command = ["mosquitto_passwd", *create, "-b", str(folder / "passwords")]
            subprocess.run([*command, user, password], check=True, timeout=30)
        (folder / "acl").write_text((DEPLOY / "mosquitto/acl").read_text())
        text = (DEPLOY / "mosquitto/mosquitto.conf").read_text()
        for there, here in (
            ("/etc/mosquitto/innpar", str(folder)),
            ("/var/lib/mosquitto/", f"{folder}/"),
            ("listener 8883", f"user root\nlistener {self.port} 127.0.0.1"),
        ):
            assert there in text
            text = text.replace(there, here)
        (folder / "mosquitto.conf").write_text(text)
        for secret in ("passwords", "acl"):
            (folder / secret).chmod(0o600)

    def client(self, program: str, user: str, *arguments: str, password: str = "") -> list[str]:
        known = ["-u", user, "-P", password or PASSWORDS.get(user, "")] if user else []
        where = ["-h", "127.0.0.1", "-p", str(self.port), "--cafile", f"{self.folder}/ca.pem"]
        return [program, "-V", "5", *where, *known, *arguments]

    def publish(self, user: str, topic: str, password: str = "") -> str:
        """Return what mosquitto_pub complains about; empty on success."""
        command = self.client("mosquitto_pub", user, "-q", "1", "-t", topic, "-m", "{}")
        if password:
            command[command.index("-P") + 1] = password
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.stderr


def _certify(folder: Path) -> None:
    """Make an authority and a certificate for 127.0.0.1, by the commands of docs/security.md."""
    page = (ROOT / "docs/security.md").read_text()
    commands = page.partition("<!-- certificate -->")[2].partition("```sh")[2].partition("```")[0]
    script = commands.replace("DNS:broker.ward.example", "IP:127.0.0.1")
    assert script != commands
    subprocess.run(
        ["bash", "-euc", script], cwd=folder, check=True, capture_output=True, timeout=60
    )


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    found = Ward(tmp_path)
    command = ["mosquitto", "-c", str(tmp_path / "mosquitto.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as broker:
        try:
            wait_for(lambda: found.publish("nurse", "bp/cmd/demo/mark") == "")
            yield found
        finally:
            broker.kill()


@pytest.mark.slow
def test_the_broker_of_the_example_refuses_what_the_page_says(ward: Ward) -> None:
    assert "Not authorized" in ward.publish("", "bp/cmd/demo/mark")
    assert "Not authorized" in ward.publish("nurse", "bp/cmd/demo/mark", password="guessed")
    for user, allowed in {
        "innpar": ("bp/estimates", "bp/devices/demo/beats", "bp/bridge/bed4/info", "bp/answers/x"),
        "viewer": (),
        "nurse": ("bp/cmd/demo/calibrate", "bp/cmd/demo/mark", "bp/cmd/demo/record"),
    }.items():
        for topic in (
            "bp/estimates",
            "bp/devices/demo/beats",
            "bp/bridge/bed4/info",
            "bp/answers/x",
            "bp/cmd/demo/calibrate",
            "bp/cmd/demo/mark",
            "bp/cmd/demo/record",
            "elsewhere",
        ):
            complaint = ward.publish(user, topic)
            assert (complaint == "") == (topic in allowed), (user, topic, complaint)
    plain = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(ward.port), "-t", "bp/x", "-m", "x"]
    plain += ["-u", "innpar", "-P", PASSWORDS["innpar"]]
    done = subprocess.run(plain, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0  # without TLS


@pytest.mark.slow
def test_nothing_of_a_run_is_refused(ward: Ward, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORDS["innpar"] + "\n")
    url = f"mqtts://innpar@127.0.0.1:{ward.port}?ca={ward.folder}/ca.pem"
    command = [sys.executable, "-m", "innpar.stream.cli.main", "--device", "demo", "--broker", url]
    command += ["--password-file", str(secret), "--node", "bed4", "--duration", "12"]
    received = tmp_path / "received"
    beats = ["-t", "bp/estimates", "-t", "bp/devices/+/state", "-t", "bp/bridge/+/info"]
    with received.open("wb") as out:
        reader = subprocess.Popen(
            ward.client("mosquitto_sub", "viewer", "-q", "1", *beats, "-v"), stdout=out
        )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        wait_for(lambda: "demo/state offline" in received.read_text())
    finally:
        reader.kill()
        reader.wait(10)
    assert "bp/estimates {" in received.read_text()
    assert '"refused":0' in received.read_text()
    assert '"refused":1' not in received.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "topic"),
    [("viewer", "bp/cmd/demo/mark"), ("viewer", "bp/answers/nurse"), ("nurse", "bp/answers/other")],
)
def test_what_a_user_may_not_read_does_not_arrive(
    ward: Ward, tmp_path: Path, user: str, topic: str
) -> None:
    received = tmp_path / "received"
    with received.open("wb") as out:
        command = ward.client("mosquitto_sub", user, "-q", "1", "-v", "-t", "#", "-t", "bp/+/#")
        reader = subprocess.Popen([*command, "-t", topic, "-t", "bp/estimates"], stdout=out)
    try:
        writer = "nurse" if "cmd" in topic else "innpar"

        def arrived() -> bool:
            assert ward.publish(writer, topic) == ""
            assert ward.publish("innpar", "bp/estimates") == ""  # sent after it
            return "bp/estimates" in received.read_text()

        wait_for(arrived)
    finally:
        reader.kill()
        reader.wait(10)
    assert topic not in received.read_text()
