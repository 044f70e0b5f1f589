"""The sink that publishes on MQTT and receives commands from there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from innpar.devices import NoticeCode, notice
from innpar.state import state_folder
from innpar.stream.errors import BrokerError
from innpar.stream.messages.commands import NAMES, Command
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.payload import parcel
from innpar.stream.mqtt.address import Address, check_root
from innpar.stream.mqtt.bridge import Bridge, default_node
from innpar.stream.mqtt.connection import (
    V5,
    LinkLost,
    MqttConnection,
    ProtocolVersion,
    connect,
)
from innpar.stream.mqtt.delivery import Delivery
from innpar.stream.mqtt.intake import Intake
from innpar.stream.mqtt.loop_lag import LoopLag
from innpar.stream.mqtt.outgoing.spool import Spool
from innpar.stream.mqtt.outgoing.spool_lock import SpoolLock, lock_spool
from innpar.stream.mqtt.probe import BrokerAway
from innpar.stream.mqtt.publisher import MessageOptions, Publisher
from innpar.stream.mqtt.reconnecting import Reconnecting
from innpar.stream.results import Item, State

_log = logging.getLogger(__name__)

ROOM = 64
"""Parcels in either queue up to which `MqttSink.ready` returns."""

_INFO = 10.0
"""s between two messages about this process, at most."""

_LEAVE = 0.8
"""s for the last deliveries on leaving; the rest goes to the spool."""


class MqttSink:
    """Publishes items; made by `open`.

    Attributes:
        reconnects: Connections after the first, or after a start without a broker.
    """

    def __init__(
        self, address: Address, bridge: Bridge, spool: Spool | None, options: MessageOptions
    ) -> None:
        self._address = address
        self._bridge = bridge
        self._reconnecting = Reconnecting(bridge.node)
        self._wait_for_broker = False
        self._greeted = False
        self._connected_at: float | None = None
        self._version: ProtocolVersion | None = None
        self._progress = asyncio.Event()
        self._delivery = Delivery(spool, self._progress.set, self._report_loss)
        self._publisher = Publisher(bridge, options)
        self._intake = Intake(bridge, self._delivery.put)
        self._missed = 0
        self._former: dict[str, bytes] = {}
        self.reconnects: int = 0
        self._state_changed = asyncio.Event()
        self._subscribed = asyncio.Event()  # to the commands of every device
        self._keeper: asyncio.Task[None] | None = None
        self._loop_lag = LoopLag()
        self._watchdog: asyncio.Task[None] | None = None

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
        options: MessageOptions | None = None,
        wait: bool = False,
    ) -> AsyncIterator[Self]:
        """Connect on entering; on leaving deliver or spool the rest and publish ``offline``.

        Args:
            address: The broker.
            topic: First levels of every topic.
            node: Name of this process on the broker; the computer's, with a random part, if not
                given.
            state: Folder that survives this process; the user's XDG state folder if not given.
            spool_limit: Bytes on disk while the broker is away.
            options: Which messages are published, and in which form.
            wait: Start without a broker that cannot be reached, and keep the messages for it.

        Raises:
            BrokerError: On entering, if the broker cannot be reached (but for `wait`), refuses
                access or lacks the
                MQTT version that the options needs. Later the sink reconnects by itself.
        """
        root = check_root(topic)
        base = state or state_folder()
        own = None if address.embedded else _claim(address, root, base)
        spool = None if own is None else Spool(own.folder, limit=spool_limit)
        bridge = Bridge(node or default_node(base), own.number if own else 1, root)
        sink = cls(address, bridge, spool, options or MessageOptions())
        sink._wait_for_broker = wait
        try:
            await sink._start()
            try:
                yield sink
            finally:
                await sink._leave()
        finally:
            if sink._watchdog is not None:
                sink._watchdog.cancel()
                await asyncio.wait({sink._watchdog})
            sink._delivery.close()
            if own is not None:
                own.release()

    async def send(self, item: Item) -> None:
        """Queue an item; never waits."""
        self._check()
        if isinstance(item, State) and self._bridge.states.get(item.device) != item.state:
            if item.device not in self._bridge.states:
                self._subscribed.clear()
            self._bridge.states[item.device] = item.state
            # Ahead of the state: after a crash, the next run takes from it which are left online.
            self._publish_info()
            self._state_changed.set()
        for message in self._publisher.parcels(item):
            self._delivery.put(message)

    async def ready(self) -> None:
        """Return when the broker is connected and the queues have room."""
        while self._delivery.link is None or self._delivery.backlog > ROOM:
            self._check()
            self._progress.clear()
            await self._progress.wait()

    async def flush(self) -> None:
        """Return when the broker has everything."""
        while not self._delivery.idle:
            self._check()
            self._progress.clear()
            await self._progress.wait()

    async def commands(self) -> AsyncIterator[Command]:
        """Iterate over the commands of subscribers; `answer` each."""
        while True:
            yield await self._intake.get()

    def answer(self, command: Command, error: str | None = None, *, confirm: bool = False) -> None:
        """Answer a command: on its response topic, else publish a failure as an event."""
        self._intake.answer(command, error, confirm=confirm)

    @property
    def connected(self) -> bool:
        return self._delivery.link is not None

    @property
    def lag(self) -> float:
        """Time that the oldest message has waited for its acknowledgement, s."""
        return self._delivery.lag

    @property
    def loop_lag(self) -> float:
        """Longest delay of the event loop in the last 15 s or more, s."""
        return self._loop_lag.longest

    def watch_delays(self, watcher: Callable[[float], None]) -> None:
        """Call `watcher` with each message's time in outbox and spool, s, once acknowledged."""
        self._delivery.on_delivered = watcher

    def watch_handover(self, watcher: Callable[[Parcel], None]) -> None:
        """Call `watcher` with each beat, event or state that is handed to the connection."""
        self._delivery.on_handed = watcher

    @property
    def awaits(self) -> bool:
        """Whether the broker still has to answer."""
        return self._delivery.awaits

    @property
    def backlog(self) -> int:
        """Messages that wait for the broker."""
        return self._delivery.backlog

    @property
    def node(self) -> str:
        """Name of this process in ``<root>/bridge/<node>``."""
        return self._bridge.node

    @property
    def counts(self) -> dict[str, int]:
        """Messages published or refused; parcels queued, spooled and dropped; commands."""
        self._count_missed()
        return {**self._delivery.counts, **self._intake.counts}

    def _count_missed(self) -> None:
        """Count the commands that arrived on this connection faster than they were read."""
        if (link := self._delivery.link) is not None:
            self._intake.missed(link.missed - self._missed)
            self._missed = link.missed

    async def _start(self) -> None:
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchdog = asyncio.create_task(self._loop_lag.measure(), name="loop lag")
        self._keeper = asyncio.create_task(self._keep(connected), name="mqtt")
        self._keeper.add_done_callback(lambda _: self._progress.set())
        try:
            await asyncio.wait({self._keeper, connected}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._stop(self._keeper)
            raise
        self._check()

    def _check(self) -> None:
        """Raise the error that ended the connection's task, if it has ended."""
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()

    async def _keep(self, connected: asyncio.Future[None]) -> None:
        """Connect, serve, and connect again, for ever.

        Raises:
            BrokerError: The first connection fails.
        """
        while True:
            self._connected_at = None
            delivered = self._delivery.published
            try:
                await self._serve(connected)
            except BrokerError as error:
                if not connected.done():
                    if not (self._wait_for_broker and isinstance(error, BrokerAway)):
                        raise
                    connected.set_result(None)
                    self._delivery.detach()  # to disk from the first message
                since = self._connected_at
                line = self._reconnecting.lost(
                    error,
                    lasted=0.0 if since is None else time.monotonic() - since,
                    delivered=self._delivery.published > delivered,
                )
                if line:
                    _log.warning("%s", line)
            await self._delivery.pause(self._reconnecting.pause)

    async def _serve(self, connected: asyncio.Future[None]) -> None:
        """Hold one connection until it is lost; raise the reason."""
        will = self._bridge.state("offline")
        lost: list[Exception] = []
        async with connect(
            self._address, client_id=self._bridge.client_id, will=will, version=self._version
        ) as link:
            self._version = link.version
            if self._publisher.options.waveform == "raw" and link.version is not V5:
                raise BrokerError(
                    f"--waveform raw needs MQTT 5, and {self._address} speaks 3.1.1 only: leave "
                    "it out, or name another --broker, such as a mosquitto"
                )
            self._delivery.attach(link)
            self._subscribed.clear()
            try:
                async with asyncio.TaskGroup() as tasks:
                    first, self._greeted = not self._greeted, True
                    tasks.create_task(self._receive(link, first))
                    await self._delivery.hand_over(link, self._bridge.state("online"))
                    # Before our own message there replaces that of another process.
                    if await link.listen(self._bridge.infos_topic) is not None:
                        await link.listen(self._bridge.info_topic)
                    tasks.create_task(self._maintain(link, first))
                    tasks.create_task(self._delivery.deliver(link, self._subscribed))
                    tasks.create_task(self._delivery.watch())
                    self._delivery.begin(link)
                    self._connected_at = time.monotonic()
                    if not connected.done():
                        connected.set_result(None)
                    else:
                        self.reconnects += 1
                        _log.info("connected to %s again", self._address)
            except* BrokerError as group:
                lost += group.exceptions
            finally:
                self._count_missed()
                self._missed = 0
                self._delivery.detach(lost)
        raise next((one for one in lost if isinstance(one, LinkLost) and one.code), lost[0])

    async def _maintain(self, link: MqttConnection, first: bool) -> None:
        """Keep the process's own messages up to date and subscribe to its devices' commands."""
        if not first:
            self._republish()
        if self._status is not None:
            await self._subscribe(link, self._status)
        subscribed: set[str] = set()
        while True:
            self._publish_info()
            self._state_changed.clear()
            for device in self._bridge.states.keys() - subscribed:
                subscribed.add(device)
                for name in NAMES:
                    await self._subscribe(link, f"{self._bridge.root}/cmd/{device}/{name}")
            if not self._bridge.states.keys() - subscribed:
                self._subscribed.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_INFO):
                    await self._state_changed.wait()

    def _publish_info(self) -> None:
        """Publish this process's own message, past the queues."""
        if (link := self._delivery.link) is not None:
            counts = {**self.counts, "loop_lag_ms": round(1e3 * self._loop_lag.longest)}
            info = self._bridge.info(counts, self._delivery.lag)
            with suppress(LinkLost):  # the task that receives reports it
                link.send(info, self._bridge.info_topic)

    def _report_loss(self, code: NoticeCode, text: str) -> None:
        """Publish an event about messages that will not be delivered."""
        for device in self._bridge.states:
            event = notice(device, time.time_ns(), code, text)
            self._delivery.put(parcel(event, self._bridge.root))

    def _republish(self) -> None:
        """Publish the retained messages again: the broker may have lost them."""
        for message in self._publisher.retained():
            self._delivery.put(message)
        for device, state in self._bridge.states.items():
            self._delivery.put(parcel(State(device, state), self._bridge.root))

    @property
    def _status(self) -> str | None:
        """Topic on which Home Assistant announces its start; None without Home Assistant."""
        prefix = self._publisher.options.home_assistant
        return None if prefix is None else f"{prefix}/status"

    async def _subscribe(self, link: MqttConnection, topic: str) -> None:
        refusal = await link.listen(topic)
        if refusal is not None:
            _log.warning(
                "the broker refuses a subscription to %s (%s): allow this user to read it",
                topic,
                refusal,
            )

    def _take_info(self, payload: bytes, first: bool) -> None:
        """Take what another process has published as this one: an earlier run, or a twin."""
        if not first and self._bridge.is_foreign(payload):
            if line := self._reconnecting.contested():
                _log.warning("%s", line)
            return
        for device in self._bridge.orphans(payload):
            _log.info("%s was left online by an earlier run; publishing offline", device)
            self._delivery.put(parcel(State(device, "offline"), self._bridge.root))

    async def _receive(self, link: MqttConnection, first: bool) -> None:
        async for message in link.received():
            if message.topic == self._bridge.info_topic:
                self._take_info(message.payload, first)
            elif message.topic in self._former:
                if message.payload == b"offline":
                    self._retire(message.topic)
            elif self._bridge.is_info(message.topic) and message.retained:
                if node := self._bridge.former(message.payload):
                    state = f"{self._bridge.root}/bridge/{node}/state"
                    self._former[state] = message.payload
                    await link.listen(state)
            elif self._bridge.is_info(message.topic):
                for line in self._bridge.shared(message.payload):
                    _log.warning("%s", line)
            elif message.topic == self._status:
                for config in self._publisher.discovery() if message.payload == b"online" else ():
                    self._delivery.put(config)
            else:
                self._intake.take(message)

    def _retire(self, state: str) -> None:
        """Clear the topics of version 0.1 on this computer; publish what it left online as offline.

        Args:
            state: Topic of its state.
        """
        info = self._former[state]  # kept: the empty message comes back
        for topic in (state, f"{state.removesuffix('state')}info"):
            self._delivery.put(Parcel((topic,), b"", retain=True, durable=False))
        for device in self._bridge.orphans(info):
            self._delivery.put(parcel(State(device, "offline"), self._bridge.root))
        _log.info("cleared the topics of version 0.1 of this computer: %s", state)

    async def _leave(self) -> None:
        """Publish ``offline``, deliver the rest within `_LEAVE` s, and disconnect."""
        for device, state in self._bridge.states.items():
            if state != "offline":
                self._bridge.states[device] = "offline"
                self._delivery.put(parcel(State(device, "offline"), self._bridge.root))
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(_LEAVE):
                if self._delivery.link is not None:
                    await self.flush()
                if (link := self._delivery.link) is not None:
                    self._publish_info()
                    await self._delivery.hand_over(link, self._bridge.state("offline"))
        except (TimeoutError, BrokerError) as error:
            _log.warning("disconnected before the broker's last acknowledgements %s", error)
        finally:
            await self._stop(self._keeper)

    @staticmethod
    async def _stop(keeper: asyncio.Task[None]) -> None:
        while not keeper.done():
            # Again until it works: wait_for, which aiomqtt uses, can lose one on Python 3.11.
            keeper.cancel()
            await asyncio.wait({keeper}, timeout=0.5)
        if not keeper.cancelled():
            keeper.result()


def _claim(address: Address, root: str, base: Path) -> SpoolLock | None:
    try:
        return lock_spool(address, root, base)
    except OSError as error:
        _log.warning("%s cannot be written (%s): after a crash, beats are lost", base, error)
        return None
