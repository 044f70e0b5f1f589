"""The sink that publishes on MQTT, and takes commands from there."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from innpar.stream.errors import BrokerError
from innpar.stream.messages.commands import NAMES, Command
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.payload import parcel
from innpar.stream.mqtt.address import Address, check_root
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.mqtt.connection import V5, LinkLost, MqttConnection, connect
from innpar.stream.mqtt.delivery import Delivery
from innpar.stream.mqtt.intake import Intake
from innpar.stream.mqtt.outbox import Outbox
from innpar.stream.mqtt.publisher import MessageOptions, Publisher
from innpar.stream.mqtt.spool import Spool
from innpar.stream.mqtt.spool_lock import SpoolLock, lock_spool
from innpar.stream.results import Item, State
from innpar.stream.state import state_folder

_log = logging.getLogger(__name__)

ROOM = 64
"""Parcels in either queue up to which `MqttSink.ready` returns."""

_INFO = 10.0
"""s between two messages about this process."""

_LEAVE = 0.8
"""s for what is still to be delivered when leaving; what is not then goes to the spool."""

_LONGEST_PAUSE = 30.0
"""s between two attempts to connect, at most."""


class MqttSink:
    """Publishes items; made by `open`."""

    def __init__(
        self, address: Address, bridge: Bridge, outbox: Outbox, edition: MessageOptions
    ) -> None:
        self._address = address
        self._bridge = bridge
        self._outbox = outbox
        self._room = asyncio.Event()
        self._delivery = Delivery(outbox, self._room.set)
        self._press = Publisher(bridge, edition)
        self._intake = Intake(bridge, self._put)
        self._news = asyncio.Event()
        self._link: MqttConnection | None = None
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        address: Address,
        *,
        topic: str = "bp",
        node: str | None = None,
        state: Path | None = None,
        spool_limit: int = 64 * 1024 * 1024,
        edition: MessageOptions | None = None,
    ) -> AsyncIterator[Self]:
        """Connect on entering; on leaving deliver or spool the rest and say ``offline``.

        Args:
            address: The broker.
            topic: First levels of every topic.
            node: Name of this process on the broker; the computer's where not given.
            state: Folder that survives this process; the user's XDG state folder where not given.
            spool_limit: Bytes on disk while the broker is away.
            edition: Which messages, and in which form.

        Raises:
            BrokerError: On entering, where the broker is not there, does not let us in or does not
                know the MQTT version that the edition needs. Later
                the sink reconnects by itself.
        """
        root = check_root(topic)
        own = None if address.embedded else _claim(address, root, state or state_folder())
        spool = None if own is None else Spool(own.folder, limit=spool_limit)
        outbox = Outbox(spool)
        try:
            bridge = Bridge(node, own.number if own else 1, root)
            sink = cls(address, bridge, outbox, edition or MessageOptions())
            await sink._start()
            try:
                yield sink
            finally:
                await sink._leave()
        finally:
            outbox.close()
            if own is not None:
                own.release()

    async def send(self, item: Item) -> None:
        """Queue an item; never waits."""
        self._check()
        if isinstance(item, State) and self._bridge.states.get(item.device) != item.state:
            self._bridge.states[item.device] = item.state
            self._tell()  # first: who finds us crashed must know whom we left online
            self._news.set()
        for message in self._press.parcels(item):
            self._put(message)

    async def ready(self) -> None:
        """Return when the broker is there and the outbox has room."""
        while self._link is None or max(len(self._outbox), self._outbox.volatile) > ROOM:
            self._check()
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Return when the broker has everything."""
        while len(self._outbox) or self._outbox.volatile or self._delivery.in_flight:
            self._check()
            self._room.clear()
            await self._room.wait()

    async def commands(self) -> AsyncIterator[Command]:
        """Iterate over what subscribers ask for; `answer` each."""
        while True:
            yield await self._intake.get()

    def answer(self, command: Command, error: str | None = None) -> None:
        """Tell the asker how it went: on the response topic, else a failure as an event."""
        self._intake.answer(command, error)

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def node(self) -> str:
        """Name of this process in ``<root>/bridge/<node>``."""
        return self._bridge.node

    @property
    def counts(self) -> dict[str, int]:
        """What was published or refused, what is queued or spooled, and what was dropped."""
        return {
            "published": self._delivery.published,
            "refused": self._delivery.refused,
            "queued": len(self._outbox),
            "spooled": self._outbox.spooled,
            "dropped": self._outbox.dropped,
            "dropped_waveforms": self._outbox.dropped_volatile,
        }

    async def _start(self) -> None:
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(connected), name="mqtt")
        self._keeper.add_done_callback(lambda _: self._room.set())
        try:
            await asyncio.wait({self._keeper, connected}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._stop(self._keeper)
            raise
        self._check()

    def _check(self) -> None:
        """Let what ended the connection's task end the caller too."""
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()

    def _put(self, item: Parcel) -> None:
        self._outbox.put(item)
        self._delivery.wake()

    async def _keep(self, connected: asyncio.Future[None]) -> None:
        """Connect, serve, and connect again, for ever.

        Raises:
            BrokerError: The first connection fails.
        """
        attempt, told = 0, ""
        while True:
            delivered = self._delivery.published
            try:
                await self._serve(connected)
            except BrokerError as error:
                if not connected.done():
                    raise
                if self._address.embedded:  # nobody starts it again
                    gone = BrokerError("the embedded broker has ended; start again")
                    gone.after_start = True
                    raise gone from error
                if self._delivery.published > delivered:
                    attempt, told = 0, ""
                if str(error) != told:
                    _log.warning("%s; trying again, beats are kept meanwhile", error)
                    told = str(error)
            attempt += 1
            # Jitter, so that many wristbands' computers do not return at once.
            pause = min(0.25 * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
            await self._delivery.pause(pause)

    async def _serve(self, connected: asyncio.Future[None]) -> None:
        """Hold one connection until it is lost, and say why it was."""
        will = self._bridge.state("offline")
        lost: list[Exception] = []
        async with connect(self._address, client_id=self._bridge.client_id, will=will) as link:
            if self._press.edition.waveform == "raw" and link.version is not V5:
                raise BrokerError(
                    f"--waveform raw needs MQTT 5, and {self._address} speaks 3.1.1 only: leave "
                    "it out, or name another --broker, such as a mosquitto"
                )
            self._delivery.attach(link)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen(link))
                    await self._delivery.hand_over(link, self._bridge.state("online"))
                    first = not connected.done()
                    if first:  # before our own message there replaces an earlier run's
                        await link.listen(self._bridge.info_topic)
                    tasks.create_task(self._tend(link, first))
                    tasks.create_task(self._delivery.deliver(link))
                    tasks.create_task(self._delivery.watch())
                    self._link = link
                    self._room.set()
                    if first:
                        connected.set_result(None)
                    else:
                        _log.info("connected to %s again", self._address)
            except* BrokerError as group:
                lost += group.exceptions
            finally:
                self._link = None
                self._delivery.detach()
        raise lost[0]

    async def _tend(self, link: MqttConnection, first: bool) -> None:
        """Tell of this process and its devices, and ask for their commands."""
        if not first:
            self._renew()
        if self._status is not None:
            await self._ask(link, self._status)
        asked: set[str] = set()
        while True:
            self._tell()
            self._news.clear()
            for device in self._bridge.states.keys() - asked:
                asked.add(device)
                for name in NAMES:
                    await self._ask(link, f"{self._bridge.root}/cmd/{device}/{name}")
            with suppress(TimeoutError):
                async with asyncio.timeout(_INFO):
                    await self._news.wait()

    def _tell(self) -> None:
        """Publish what is to be known of this process."""
        if self._link is not None:
            info = self._bridge.info(self.counts, self._delivery.lag)
            with suppress(LinkLost):  # whoever listens on the link will say so
                self._link.send(info, self._bridge.info_topic)

    def _renew(self) -> None:
        """Publish again what is retained: the broker may have lost it."""
        for message in self._press.retained():
            self._put(message)
        for device, state in self._bridge.states.items():
            self._put(parcel(State(device, state), self._bridge.root))

    @property
    def _status(self) -> str | None:
        """Topic on which Home Assistant says that it has started; None where nobody asked."""
        prefix = self._press.edition.home_assistant
        return None if prefix is None else f"{prefix}/status"

    async def _ask(self, link: MqttConnection, topic: str) -> None:
        refusal = await link.listen(topic)
        if refusal is not None:
            _log.warning("the broker refuses us %s (%s): nothing is heard there", topic, refusal)

    async def _listen(self, link: MqttConnection) -> None:
        async for message in link.received():
            if message.topic == self._bridge.info_topic:
                for device in self._bridge.orphans(message.payload):
                    _log.info("%s was left online by an earlier run; saying offline", device)
                    self._put(parcel(State(device, "offline"), self._bridge.root))
            elif message.topic == self._status:
                for config in self._press.discovery() if message.payload == b"online" else ():
                    self._put(config)
            else:
                self._intake.take(message)

    async def _leave(self) -> None:
        """Say ``offline``, deliver what can be delivered at once, and disconnect."""
        for device, state in self._bridge.states.items():
            if state != "offline":
                self._bridge.states[device] = "offline"
                self._put(parcel(State(device, "offline"), self._bridge.root))
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(_LEAVE):
                if self._link is not None:
                    await self.flush()
                if self._link is not None:
                    self._tell()
                    await self._delivery.hand_over(self._link, self._bridge.state("offline"))
        except (TimeoutError, BrokerError) as error:
            _log.warning("left without the broker's last acknowledgements %s", error)
        finally:
            await self._stop(self._keeper)

    @staticmethod
    async def _stop(keeper: asyncio.Task[None]) -> None:
        while not keeper.done():
            # Until it holds: wait_for, which aiomqtt waits with, can lose one on Python 3.11.
            keeper.cancel()
            await asyncio.wait({keeper}, timeout=0.5)
        if not keeper.cancelled():
            keeper.result()


def _claim(address: Address, root: str, base: Path) -> SpoolLock | None:
    try:
        return lock_spool(address, root, base)
    except OSError as error:
        _log.warning("nothing can be kept in %s (%s): beats are lost if we crash", base, error)
        return None
