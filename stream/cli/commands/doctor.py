"""``innpar-stream doctor``: check Bluetooth, LSL, broker, model, processor and disk."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from innpar.devices import DeviceError
from innpar.models.errors import ModelError
from innpar.state import state_folder
from innpar.stream.errors import BrokerError

EXAMPLES = """\
examples:
  innpar-stream doctor
  innpar-stream doctor --broker mqtt://10.0.0.5
"""

PATIENCE = 20.0
"""s, the longest time for one check, so that a hanging radio or broker does not block the rest."""

LISTEN = 3.0
"""s to scan for Bluetooth sensors, and for LSL streams."""

ROOM = 500_000_000
"""Bytes of free disk space: 64 MB for the spool, several hundred for a night's recording."""

HOP = 1.024
"""s between two windows of one wearer; the time available to compute one."""

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


class Problem(Exception):
    """Raised by a check that fails; the message ends with what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        text: The finding; for a failed check, the problem and its remedy.
    """

    name: str
    ok: bool
    text: str

    @property
    def line(self) -> str:
        """The printed line."""
        return f"{self.name:<10} {'ok' if self.ok else '!!'}  {self.text}"


Check = Callable[[], Awaitable[str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port] (default: localhost:1883, or an embedded "
        "broker if there is none)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="model manifest or its folder (default: shipped model)",
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="code that runs the network: native, torchscript, eager, aot, onnx, numpy, cuda[:N]",
    )


def run(options: argparse.Namespace) -> int:
    """Print one line per check; 1 if any failed."""

    async def report() -> int:
        failed = False
        async for finding in examine(options.broker, options.model, options.backend):
            print(finding.line, flush=True)
            failed |= not finding.ok
        return int(failed)

    return asyncio.run(report())


async def examine(
    broker: str | None, model: Path | None, backend: str | None = None
) -> AsyncIterator[Finding]:
    """Yield the finding of each check.

    Args:
        broker: URL; None for the broker of a run without ``--broker``.
        model: Manifest or its folder; None for the shipped model.
        backend: Code that runs the network; None for the best of this installation.
    """
    checks: dict[str, Check] = {
        "D-Bus": _dbus,
        "Bluetooth": _bluetooth,
        "LSL": _lsl,
        "broker": lambda: _broker(broker),
        "model": lambda: _model(model, backend),
        "compute": lambda: _compute(model, backend),
        "disk": _disk,
    }
    for name, check in checks.items():
        yield await _finding(name, check)


async def _finding(name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            return Finding(name, True, await check())
    except (Problem, DeviceError, ModelError, BrokerError) as error:
        return Finding(name, False, " ".join(str(error).split("\n")))
    except TimeoutError:
        return Finding(
            name, False, f"no answer within {PATIENCE:g} s: restart the service or device"
        )


async def _dbus() -> str:
    if not sys.platform.startswith("linux"):
        return "not needed on this system"
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS)
    kind, _, rest = address.partition(":")
    fields = dict(field.partition("=")[::2] for field in rest.split(";")[0].split(","))
    path = fields.get("path") or "\0" + fields.get("abstract", "")
    if kind != "unix" or path == "\0":
        return f"{address} (not a local socket; not checked)"
    try:
        with socket.socket(socket.AF_UNIX) as bus:
            bus.settimeout(2.0)
            bus.connect(path)
    except OSError:
        raise Problem(
            f"no system bus at {path}, so no Bluetooth: start dbus, or in a container mount "
            "/run/dbus"
        ) from None
    return f"system bus at {path}"


async def _bluetooth() -> str:
    from innpar.devices.link.ble import Radio, scan
    from innpar.devices.link.discover import recognise

    nearby = await scan(LISTEN, Radio())
    sensors = [found.device for found in map(recognise, nearby) if found.device]
    return f"adapter works; {len(nearby)} devices in range, sensors: {', '.join(sensors) or 'none'}"


async def _lsl() -> str:
    return await asyncio.to_thread(_discover)


def _discover() -> str:
    """Publish a stream, discover it again, and list the others."""
    from innpar.devices.lsl.library import describe, library

    lsl = library()
    mine = f"innpar-doctor-{secrets.token_hex(4)}"
    outlet = lsl.StreamOutlet(lsl.StreamInfo("innpar doctor", "Test", 1, 0, "int32", mine))
    resolver = lsl.ContinuousResolver()
    time.sleep(LISTEN)
    infos = resolver.results()
    del outlet
    if all(info.source_id() != mine for info in infos):
        raise Problem(
            "a test stream on this computer cannot be discovered: open UDP 16571-16604 and TCP "
            "16572-16604 in the firewall, or list the other computers in lsl_api.cfg (KnownPeers)"
        )
    found = [describe(info) for info in infos if info.source_id() != mine]
    listed = "; ".join(f"name={one.name} type={one.type}" for one in found)
    return f"discovery works; streams: {listed or 'none'}"


async def _broker(url: str | None) -> str:
    from innpar.stream.mqtt.broker import broker_for
    from innpar.stream.mqtt.connection import connect

    async with broker_for(url) as address, connect(address):
        if address.embedded:
            return f"none on localhost:1883; the embedded one works (port {address.port})"
        return f"{address} accepts connections"


async def _model(path: Path | None, backend: str | None) -> str:
    from innpar.models.predictor import Predictor

    predictor = await asyncio.to_thread(Predictor.load, path, backend=backend)
    manifest = predictor.manifest
    return (
        f"{predictor.id} loads ({predictor.runs_on}), files match the manifest; "
        f"{manifest.window} samples at {manifest.rate:g} Hz"
    )


async def _compute(path: Path | None, backend: str | None) -> str:
    return await asyncio.to_thread(_time_a_window, path, backend)


def _time_a_window(path: Path | None, backend: str | None) -> str:
    import numpy as np

    from innpar.models.predictor import Predictor

    predictor = Predictor.load(path, backend=backend, threads=1)
    window = np.sin(np.arange(predictor.manifest.window) / 15)[None]
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        predictor(window)
        spent.append(time.perf_counter() - start)
    took = float(np.median(spent))
    if took > HOP / 2:
        raise Problem(
            f"the network takes {took * 1e3:.0f} ms per window, {HOP * 1e3:.0f} ms apart: stop "
            "other programs, or use a faster computer"
        )
    gpu = "no NVIDIA GPU (not required)"
    if shutil.which("nvidia-smi") is not None:
        gpu = "an NVIDIA GPU, for training and for --backend cuda"
    return (
        f"{os.cpu_count()} CPU cores; {predictor.runs_on}: per wearer the network takes "
        f"{took * 1e3:.1f} ms of one core every {HOP * 1e3:.0f} ms; {gpu}"
    )


async def _disk() -> str:
    folder = state_folder()
    probe = folder / f"doctor-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"innpar")
        probe.unlink()
    except OSError as error:
        raise Problem(
            f"{folder} cannot be written ({error.strerror}): give this user write permission, or "
            "set XDG_STATE_HOME to a writable folder"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise Problem(f"{free / 1e6:.0f} MB free in {folder}: free up at least {ROOM / 1e6:.0f} MB")
    return f"{free / 1e9:.1f} GB free in {folder}, which is writable"
