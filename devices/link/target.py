"""Selection of a Bluetooth sensor: its id, its advertisements, and its last-known address."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from innpar.devices.base import HostClock, Lost
from innpar.devices.link.addresses import Addresses
from innpar.devices.link.ble import BleLink, Radio, Sighting, connect, find, taken
from innpar.devices.options import short_name, slug

log: logging.Logger = logging.getLogger(__name__)

DIRECT_SECONDS = 6.0
"""Time limit of an attempt at the last-known address, before scanning."""


class Target:
    """Sensor as the user selected it, and the one that was found.

    Args:
        kind: Its name for ``--device``.
        who: Its address, or the end of its name; empty for the first one found.
        names: Prefixes of the advertised name of its kind.
        services: UUIDs that its kind advertises.
        identity: Id to use instead of one composed of kind and name.
        plain: Whether the id is the kind alone unless selected otherwise.

    Attributes:
        kind, who, names, services: As given.
        seen: The sensor found; from then on, only the same one matches.
        addresses: Store of last-known addresses; None to use none.
    """

    def __init__(
        self,
        kind: str,
        who: str,
        names: Sequence[str],
        services: Sequence[str] = (),
        *,
        identity: str | None = None,
        plain: bool = False,
    ) -> None:
        self.kind = kind
        self.who = who
        self.names: tuple[str, ...] = tuple(names)
        self.services: frozenset[str] = frozenset(services)
        self.seen: Sighting | None = None
        self.addresses: Addresses | None = None
        self._fixed = identity or (slug(f"{kind}-{short_name(who)}") if who else None)
        self._plain = plain
        self._selected = self._fixed or kind

    @property
    def id(self) -> str:
        """``muse-1a2b``; the kind alone until a sensor selected only by kind has been found."""
        if self._fixed or self.seen is None or self._plain:
            return self._selected
        part = re.split("[ -]", self.seen.name)[-1]
        distinct = any(c.isdigit() for c in part)
        last = part if distinct else self.seen.address
        return slug(f"{self.kind}-{short_name(last)}")

    def matches(self, sighting: Sighting) -> bool:
        """Return whether a sighting is this sensor; once found, only the same one matches."""
        if self.seen is not None:
            return sighting.address == self.seen.address
        named = bool(self.names) and sighting.name.startswith(self.names)
        named = named or bool(self.services & set(sighting.services))
        if not self.who:
            return named
        who = _plain(self.who)
        return who == _plain(sighting.address) or (
            named and bool(who) and _plain(sighting.name).endswith(who)
        )

    async def reach(
        self, stack: AsyncExitStack, radio: Radio, clock: HostClock, seconds: float, remedy: str
    ) -> BleLink:
        """Connect to the sensor, at its last-known address first, else by scanning.

        Args:
            stack: Closes the connection.
            radio: Adapter to use.
            clock: The host's.
            seconds: Scanning time.
            remedy: Message if it is not found: what to do.

        Raises:
            NotFound: It is not advertising, or there is no Bluetooth.
            Refused, Lost: Bluetooth may not be used, or failed.
        """
        link = await self._direct(stack, radio, clock)
        if link is None:
            sighting = await find(self.matches, seconds, radio, remedy)
            link = await stack.enter_async_context(connect(sighting, radio, clock))
            self.seen = sighting
        return link

    async def _direct(
        self, stack: AsyncExitStack, radio: Radio, clock: HostClock
    ) -> BleLink | None:
        if self.seen is not None or self._plain or self.addresses is None:
            return None
        known = await asyncio.to_thread(self.addresses.recall, self._selected)
        if known is None or taken(known[0]):
            return None
        address, name = known
        sighting = Sighting(name, address, 0, (), address)
        try:
            connecting = connect(sighting, radio, clock, DIRECT_SECONDS)
            link = await stack.enter_async_context(connecting)
        except Lost as lost:
            log.info("%s: not at its last-known address (%s)", self._selected, lost)
            return None
        self.seen = sighting
        return link

    async def keep(self) -> None:
        """Store the address, once the sensor has proved to be of the selected kind."""
        if self.addresses is None or self.seen is None or self._plain:
            return
        try:  # in a thread: disks may be slow
            await asyncio.to_thread(
                self.addresses.keep, self._selected, self.seen.address, self.seen.name
            )
        except OSError as error:
            log.warning("%s: its address cannot be stored (%s)", self._selected, error)


@dataclass(frozen=True, slots=True)
class Search:
    """Search for a sensor.

    Attributes:
        sought: The sensor.
        radio: Adapter to use.
        wait: Scanning time, s.
    """

    sought: Target
    radio: Radio
    wait: float


def _plain(text: str) -> str:
    return re.sub("[^0-9a-z]", "", text.lower())
