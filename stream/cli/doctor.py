"""What a run needs from this computer, looked at piece by piece; what is amiss says what to do."""

from __future__ import annotations

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
from innpar.stream.errors import BrokerError
from innpar.stream.state import state_folder

PATIENCE = 20.0
"""s for one check; a radio or a broker that hangs must not hang the rest."""

LISTEN = 3.0
"""s to listen for Bluetooth sensors, and for LSL streams."""

ROOM = 500_000_000
"""Bytes that should be free: the spool takes 64 MB, a night's recording several hundred."""

HOP = 1.024
"""s between two windows of one wearer; a window must be done in less."""

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


class Problem(Exception):
    """What a check found wrong; the message ends with what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        text: What was found, or what is amiss and what to do about it.
    """

    name: str
    ok: bool
    text: str

    @property
    def line(self) -> str:
        """As printed."""
        return f"{self.name:<10} {'ok' if self.ok else '!!'}  {self.text}"


Check = Callable[[], Awaitable[str]]


def doctor(broker: str | None, model: Path | None) -> int:
    """Print a line a check; return 0 where all is well, else 1."""

    async def tell() -> int:
        status = 0
        async for finding in examine(broker, model):
            print(finding.line, flush=True)
            status |= not finding.ok
        return status

    return asyncio.run(tell())


async def examine(broker: str | None, model: Path | None) -> AsyncIterator[Finding]:
    """Yield the findings one after the other.

    Args:
        broker: URL; None for what a run without ``--broker`` would use.
        model: As of ``--model``.
    """
    checks: dict[str, Check] = {
        "D-Bus": _dbus,
        "Bluetooth": _bluetooth,
        "LSL": _lsl,
        "broker": lambda: _broker(broker),
        "model": lambda: _model(model),
        "compute": lambda: _compute(model),
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
        return Finding(name, False, f"no answer within {PATIENCE:g} s; is it hanging? restart it")


async def _dbus() -> str:
    if not sys.platform.startswith("linux"):
        return "not needed on this system"
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS)
    kind, _, rest = address.partition(":")
    fields = dict(field.partition("=")[::2] for field in rest.split(";")[0].split(","))
    path = fields.get("path") or "\0" + fields.get("abstract", "")
    if kind != "unix" or path == "\0":
        return f"{address} (not a local socket; not looked at)"
    try:
        with socket.socket(socket.AF_UNIX) as bus:
            bus.settimeout(2.0)
            bus.connect(path)
    except OSError as error:
        raise Problem(
            f"no system bus at {path} ({error.strerror or error}), so no Bluetooth: start dbus, "
            "or in a container mount /run/dbus"
        ) from None
    return f"system bus at {path}"


async def _bluetooth() -> str:
    from innpar.devices.link.ble import Radio, scan
    from innpar.devices.link.discover import recognise

    heard = await scan(LISTEN, Radio())
    sensors = [found.device for found in map(recognise, heard) if found.device]
    return f"adapter works; {len(heard)} devices heard, sensors: {', '.join(sensors) or 'none'}"


async def _lsl() -> str:
    return await asyncio.to_thread(_discover)


def _discover() -> str:
    """Publish a stream, and look whether it and which others can be found."""
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
            "a stream of our own cannot be found: let UDP 16571-16604 and TCP 16572-16604 through "
            "the firewall, or name the other computers in lsl_api.cfg (KnownPeers)"
        )
    found = [describe(info) for info in infos if info.source_id() != mine]
    listed = "; ".join(f"name={one.name} type={one.type}" for one in found)
    return f"discovery works; streams: {listed or 'none'}"


async def _broker(url: str | None) -> str:
    from innpar.stream.mqtt.broker import broker_for
    from innpar.stream.mqtt.connection import connect

    async with broker_for(url) as address, connect(address):
        if address.embedded:
            return f"none on localhost:1883; our own starts and answers (port {address.port})"
        return f"{address} lets us in"


async def _model(path: Path | None) -> str:
    from innpar.models.predictor import Predictor

    predictor = await asyncio.to_thread(Predictor.load, path)
    manifest = predictor.manifest
    return (
        f"{predictor.id} loads ({predictor.backend}), its files are those of the manifest; "
        f"{manifest.window} samples at {manifest.rate:g} Hz"
    )


async def _compute(path: Path | None) -> str:
    return await asyncio.to_thread(_time_a_window, path)


def _time_a_window(path: Path | None) -> str:
    import numpy as np
    import torch

    from innpar.models.predictor import Predictor

    torch.set_num_threads(1)
    predictor = Predictor.load(path)
    window = np.sin(np.arange(predictor.manifest.window) / 15)[None]
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        predictor(window)
        spent.append(time.perf_counter() - start)
    took = float(np.median(spent))
    if took > HOP / 2:
        raise Problem(
            f"a window takes {took * 1e3:.0f} ms and {HOP * 1e3:.0f} ms is all there is: stop what "
            "else keeps this computer busy, or use a faster one"
        )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA, none is needed"
    return (
        f"{os.cpu_count()} CPU cores; the network takes {took * 1e3:.1f} ms of one every "
        f"{HOP * 1e3:.0f} ms for a wearer; for training: {gpu}"
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
            f"{folder} cannot be written ({error.strerror}): make it this user's, or set "
            "XDG_STATE_HOME to a folder that is"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise Problem(f"{free / 1e6:.0f} MB free at {folder}: free {ROOM / 1e6:.0f} MB or more")
    return f"{free / 1e9:.1f} GB free at {folder}, which can be written"
