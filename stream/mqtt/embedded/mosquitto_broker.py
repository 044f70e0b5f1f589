"""The embedded broker as a mosquitto with a configuration of its own."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from innpar.stream.mqtt.broker import FIRST_PORT, HOST, PORTS, BrokerSettings

_LAST_WORDS = 0.2
"""s for messages still on their way to subscribers."""
_START = 5.0
"""s for mosquitto to listen."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG; prctl(2)."""


def serve(settings: BrokerSettings) -> None:
    """Serve until the parent ends."""
    with tempfile.TemporaryDirectory(prefix="innpar-broker-") as folder:
        for port in [settings.port] if settings.port else range(FIRST_PORT, FIRST_PORT + PORTS):
            if port == settings.listen_port or not _is_free(port):
                continue
            process = _start(settings, port, Path(folder) / "mosquitto.conf")
            if _listens(process, port):
                break
        else:
            raise SystemExit(1)
        print(port, flush=True)
        threading.Thread(target=_end_with_parent, args=(process,), daemon=True).start()
        process.wait()


def configuration(settings: BrokerSettings, port: int) -> str:
    """Return the text of a configuration file: this computer without, others with a password."""
    lines = [
        "per_listener_settings true",
        "log_dest none",
        f"user {pwd.getpwuid(os.getuid()).pw_name}",
        "max_queued_messages 100000",
        f"listener {port} {HOST}",
        "allow_anonymous true",
    ]
    if settings.listen_host:
        lines.append(f"listener {settings.listen_port} {settings.listen_host}")
        if settings.passwords:
            lines += ["allow_anonymous false", f"password_file {settings.passwords}"]
        else:
            lines.append("allow_anonymous true")
    return "\n".join([*lines, ""])


def _start(settings: BrokerSettings, port: int, file: Path) -> subprocess.Popen[bytes]:
    file.write_text(configuration(settings, port), encoding="utf-8")
    return subprocess.Popen(
        [settings.program, "-c", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    """End with the parent even where that is killed; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Return whether a process listens on a port before it ends."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                time.sleep(0.3)  # it may be another program that was faster; ours ends then
                return process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    return False


def _end_with_parent(process: subprocess.Popen[bytes]) -> None:
    """Wait in a thread for the end of standard input."""
    sys.stdin.buffer.read()
    time.sleep(_LAST_WORDS)
    process.kill()
