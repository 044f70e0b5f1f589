"""The broker's password: where it comes from, and where it must not be seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from innpar.stream.app.credentials import with_credentials
from innpar.stream.app.settings import load
from innpar.stream.errors import BrokerError, ConfigError
from innpar.stream.mqtt.address import Address

SHOWN = """
import sys
from pathlib import Path
from innpar.stream.app.credentials import hide_passwords
hide_passwords()
sys.stdout.write(Path("/proc/self/cmdline").read_text())
"""


def test_the_list_of_processes_shows_no_password() -> None:
    urls = ["mqtt://nurse:hunter2@ward:1883", "--broker=mqtts://n:hun@ter2@h?ca=x", "mqtt://h"]
    done = subprocess.run(
        [sys.executable, "-c", SHOWN, *urls], capture_output=True, text=True, check=True, timeout=60
    )
    shown = done.stdout.split("\0")[3:6]
    assert shown == [
        "mqtt://nurse:*******@ward:1883",
        "--broker=mqtts://n:********@h?ca=x",
        "mqtt://h",
    ]


def test_a_password_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\nsecond line\n")
    settings = load({"password_file": str(file)}, None, {})
    given = with_credentials(Address.parse("mqtts://nurse@ward"), settings)
    assert (given.username, given.password) == ("nurse", "hunter2")
    with pytest.raises(ConfigError, match="name the user"):
        with_credentials(Address.parse("mqtts://ward"), settings)
    missing = load({"password_file": str(tmp_path / "none")}, None, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        with_credentials(Address.parse("mqtts://nurse@ward"), missing)


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("mqtt://nurse:hunter2@192.0.2.7", True),
        ("mqtt://nurse:hunter2@ward.example", True),
        ("mqtt://nurse:hunter2@localhost.example", True),
        ("mqtt://nurse:hunter2@192.0.2.7?plaintext=allow", False),
        ("mqtts://nurse:hunter2@192.0.2.7", False),
        ("mqtt://nurse:hunter2@127.0.0.2", False),
        ("mqtt://nurse:hunter2@[::1]", False),
        ("mqtt://nurse:hunter2@localhost", False),
        ("mqtt://192.0.2.7", False),
    ],
)
def test_a_password_crosses_the_network_unencrypted_only_where_allowed(
    url: str, refused: bool
) -> None:
    address = Address.parse(url)
    if not refused:
        address.check_password()
        return
    with pytest.raises(BrokerError, match="--allow-plaintext") as caught:
        address.check_password()
    assert "hunter2" not in str(caught.value)
    with_credentials(address, load({"allow_plaintext": True}, None, {})).check_password()


def test_a_table_may_order_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('duration = 5\n[mqtt]\nspool_mb = 8\nnode = "bed4"\n')
    settings = load({}, file, {})
    assert (settings.duration, settings.spool_mb, settings.node) == (5, 8, "bed4")
    file.write_text("spool_mb = 9\n[mqtt]\nspool_mb = 8\n")
    with pytest.raises(ConfigError, match="spool_mb is set twice"):
        load({}, file, {})
