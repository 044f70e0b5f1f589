"""Settings that change while a run goes on, on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator

from innpar.stream.app.alarms import AlarmSink
from innpar.stream.app.operations.service import ServiceManager
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError
from innpar.stream.sinks.stamping import StampingSink

log: logging.Logger = logging.getLogger(__name__)

RELOADABLE = ("alarm", "late", "verbose")
"""Settings that take effect while streaming; any other needs a restart."""


def changed(before: Settings, after: Settings) -> Iterator[str]:
    """Iterate over the names of the settings that differ."""
    for name, field in Settings.model_fields.items():
        if getattr(before, name) != getattr(after, name):
            yield field.alias or name


def reloaded(before: Settings, after: Settings) -> tuple[Settings, list[str], list[str]]:
    """Return the settings in force after a reload, and the names that changed or could not.

    Returns:
        The new settings; names that took effect; names that need a restart.
    """
    names = list(changed(before, after))
    taken = [name for name in names if name in RELOADABLE]
    settings = before.model_copy(update={name: getattr(after, name) for name in taken})
    return settings, taken, [name for name in names if name not in RELOADABLE]


class Reload:
    """Reads the configuration again, and changes the run where that is possible.

    Args:
        settings: In force.
        again: Function that reads them.
        alarms: Sink that has the rules of the alarms.
        stamping: Sink that has the limit of a late beat; None in a replay.
    """

    def __init__(
        self,
        settings: Settings,
        again: Callable[[], Settings],
        alarms: AlarmSink,
        stamping: StampingSink | None,
    ) -> None:
        self._settings = settings
        self._again = again
        self._alarms = alarms
        self._stamping = stamping

    async def on_hangup(self, service: ServiceManager) -> None:
        """Reload on each SIGHUP, until cancelled."""
        hangup = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
        while True:
            await hangup.wait()
            hangup.clear()
            service.reloading()
            await self.reload()
            service.send(READY=1)

    async def reload(self) -> None:
        """Read the settings, apply what can change, and log one line about each kind."""
        try:
            after = await asyncio.to_thread(self._again)
        except ConfigError as error:
            log.warning("nothing was reloaded: %s", error)
            return
        self._settings, taken, refused = reloaded(self._settings, after)
        await self._alarms.replace(self._settings.alarm)
        if self._stamping is not None:
            self._stamping.late = self._settings.late
        logging.getLogger().setLevel(logging.INFO if self._settings.verbose else logging.WARNING)
        log.warning("reloaded: %s", ", ".join(taken) or "nothing has changed")
        if refused:
            log.warning("not reloaded: %s; restart the run for it", ", ".join(refused))
