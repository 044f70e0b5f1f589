"""Private D-Bus daemon, isolated from the computer's own Bluetooth."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

VARIABLE = "DBUS_SYSTEM_BUS_ADDRESS"
"""Environment variable with the address of the system bus, read by all D-Bus libraries."""

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir={folder}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""


@asynccontextmanager
async def private_bus() -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a private D-Bus daemon that this process uses as its system bus."""
    with tempfile.TemporaryDirectory() as folder:
        config = _configure(Path(folder))
        daemon = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={config}",
            "--nofork",
            "--print-address",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # it warns of limits that it may not raise
        )
        before = os.environ.get(VARIABLE)
        try:
            assert daemon.stdout is not None
            os.environ[VARIABLE] = (await daemon.stdout.readline()).decode().strip()
            yield daemon
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
            with suppress(ProcessLookupError):  # a test may have ended it
                daemon.terminate()
            await daemon.communicate()


def _configure(folder: Path) -> Path:
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(folder=folder))
    return config
