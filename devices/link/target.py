"""Which Bluetooth sensor is meant, what it is called here, and where it was last."""

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
from innpar.devices.options import short, slug

log: logging.Logger = logging.getLogger(__name__)

DIRECT_SECONDS = 6.0
"""For an attempt at the last-known address, before everything that advertises is listened to."""


class Target:
    """A sensor as the user named it, and the one that was found for it.

    Args:
        kind: What ``--device`` calls it.
        who: Its address, or the end of its name; empty for the first one heard.
        names: What the advertised name of its kind begins with.
        services: Or what its kind advertises, UUIDs.
        identity: Id to use instead of one made of kind and name.
        plain: Whether its id is that of its kind where nothing else is said.

    Attributes:
        seen: The one that was found; once it is, only the same one will do.
        addresses: Where it is remembered across runs; None where it is not.
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
        self._fixed = identity or (slug(f"{kind}-{short(who)}") if who else None)
        self._plain = plain
        self._asked = self._fixed or kind

    @property
    def id(self) -> str:
        """``muse-1a2b``; where nothing says which, the last part comes once it is found."""
        if self._fixed or self.seen is None or self._plain:
            return self._asked
        part = re.split("[ -]", self.seen.name)[-1]
        distinct = any(c.isdigit() for c in part)
        last = part if distinct else self.seen.address
        return slug(f"{self.kind}-{short(last)}")

    def matches(self, sighting: Sighting) -> bool:
        """Return whether what was heard is this sensor; once found, only the same one is."""
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
        """Connect to it: at its last-known address first, else to what is heard.

        Args:
            stack: Hangs up.
            radio: Which Bluetooth.
            clock: The host's.
            seconds: To listen.
            remedy: What to do where it is not heard.

        Raises:
            NotFound: Not heard, or there is no Bluetooth.
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
        known = await asyncio.to_thread(self.addresses.recall, self._asked)
        if known is None or taken(known[0]):
            return None
        address, name = known
        sighting = Sighting(name, address, 0, (), address)
        try:
            connecting = connect(sighting, radio, clock, DIRECT_SECONDS)
            link = await stack.enter_async_context(connecting)
        except Lost as lost:
            log.info("%s: not at its last-known address (%s)", self._asked, lost)
            return None
        self.seen = sighting
        return link

    async def keep(self) -> None:
        """Remember where it is, now that it has proved to be what was sought."""
        if self.addresses is None or self.seen is None or self._plain:
            return
        try:  # beside the loop: a disk may take its time
            await asyncio.to_thread(
                self.addresses.keep, self._asked, self.seen.address, self.seen.name
            )
        except OSError as error:
            log.warning("%s: its address cannot be kept (%s)", self._asked, error)


@dataclass(frozen=True, slots=True)
class Search:
    """Where and for how long to look for a sensor.

    Attributes:
        sought: The sensor.
        radio: Which Bluetooth.
        wait: Seconds.
    """

    sought: Target
    radio: Radio
    wait: float


def _plain(text: str) -> str:
    return re.sub("[^0-9a-z]", "", text.lower())
