"""One run, from settings to exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING

from innpar.devices import Device, shown_source
from innpar.devices.sensors.cuff import CuffDevice
from innpar.devices.timing.pace import SystemClock
from innpar.state import state_folder
from innpar.stream.app.alarms import AlarmSink
from innpar.stream.app.credentials import hide_passwords, with_credentials
from innpar.stream.app.devices import create_devices
from innpar.stream.app.operations.health import status_line
from innpar.stream.app.operations.measurements import MeasurementSink
from innpar.stream.app.operations.metrics import RunState
from innpar.stream.app.operations.reload import Reload
from innpar.stream.app.operations.service import NetworkProgress, ServiceManager
from innpar.stream.app.page import http_server, operation, status
from innpar.stream.app.preload import preload
from innpar.stream.app.recording import recorders_for
from innpar.stream.app.replayed import as_recorded, latency_mode, other_model, required
from innpar.stream.app.settings import Settings
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.errors import ConfigError
from innpar.stream.messages.hygiene import OneLine
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.broker import broker_for
from innpar.stream.mqtt.broker import listening as broker_listening
from innpar.stream.mqtt.publisher import MOST_WAVES, MessageOptions
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.sidecars import assign, forward_cuff, forward_markers
from innpar.stream.pipeline.steering import CommandSource, mark_all, moved_all, run_commands
from innpar.stream.pipeline.supervision import supervised
from innpar.stream.pipeline.tally import TallySink, report
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.session.recorder import place
from innpar.stream.session.recorders import Recorders
from innpar.stream.sinks.base import FanOut, Sink
from innpar.stream.sinks.jsonlines import JsonSink, ReaderGone
from innpar.stream.sinks.keyboard import MOVED, listening
from innpar.stream.sinks.stamping import StampingSink
from innpar.stream.sinks.terminal import TerminalSink
from innpar.stream.view.board import Board
from innpar.stream.view.steering import PageCommands
from innpar.stream.windows.conditioning import conditioning_matrix

if TYPE_CHECKING:
    from innpar.models.predictor import Predictor

log: logging.Logger = logging.getLogger(__name__)

GPU_FROM = 100
"""Wearers from which on `auto` looks for a GPU: a core takes about as many."""
LINES = 2
"""Wearers with a line each in the terminal; more are a table."""
LAST_DELIVERY = 20.0
"""s at the end of a run for the broker's last acknowledgements."""


def start(settings: Settings, again: Callable[[], Settings] | None = None) -> int:
    """Run until the devices end or a signal stops the run; return the exit status.

    Args:
        settings: Of the run.
        again: Function that reads them again, on SIGHUP; None where there is no file to read.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if settings.verbose else logging.WARNING,
        format="%(message)s",
    )
    for handler in logging.root.handlers:
        handler.setFormatter(OneLine("%(message)s"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that knows ASCII only is no failure
            stream.reconfigure(errors="replace")
    hide_passwords()
    devices = create_devices(settings)
    with asyncio.Runner() as runner:
        return runner.run(_until_signal(settings, devices, again))


async def _until_signal(
    settings: Settings, devices: Sequence[Device], again: Callable[[], Settings] | None
) -> int:
    """End in order on SIGINT, SIGTERM or a closed terminal; only the first counts."""
    task = asyncio.current_task()
    stopped = asyncio.Event()

    def stop() -> None:
        if task is not None and not stopped.is_set():
            stopped.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, stop)
    try:
        return await _main(settings, devices, None if os.isatty(0) else again)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        return 0


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of one run.

    Attributes:
        page: Commands of the live page.
        out: Every sink, `mqtt`, `terminal`, `outcomes` and `recorders` among them.
    """

    clock: SystemClock
    predictor: Predictor
    engine: Engine
    wearers: Sequence[Wearer]
    cuffs: Sequence[CuffDevice]
    mqtt: MqttSink
    terminal: TerminalSink
    outcomes: TallySink
    recorders: Recorders
    page: PageCommands
    state: RunState
    service: ServiceManager
    alarms: AlarmSink
    stamping: StampingSink | None
    out: Sink


async def _main(
    settings: Settings, devices: Sequence[Device], again: Callable[[], Settings] | None
) -> int:
    async with AsyncExitStack() as stack:
        parts = await _build(settings, devices, stack)
        tasks = _beside(settings, parts)
        if again is not None:
            reload = Reload(settings, again, parts.alarms, parts.stamping)
            tasks.append(asyncio.create_task(reload.on_hangup(parts.service), name="reload"))
        stack.callback(parts.service.send, STOPPING=1)
        parts.service.send(READY=1)
        began = time.process_time()
        try:
            await _stream(parts)
        except ReaderGone:
            log.warning("standard output has no reader; stopping")
        finally:
            await _close(parts, tasks, began)
    if any(wearer.first is not None for wearer in parts.wearers):
        return 0
    names = ", ".join(wearer.device.id for wearer in parts.wearers)
    log.warning("not one sample came from %s; see the notices above", names)
    return 1


async def _build(settings: Settings, devices: Sequence[Device], stack: AsyncExitStack) -> _Run:
    """Return the parts of a run; they are closed with `stack`."""
    clock, outcomes = SystemClock(), TallySink()
    terminal = TerminalSink(quiet=settings.json_, table=settings.tui or len(devices) > LINES)
    address = await stack.enter_async_context(_broker(settings))
    address = with_credentials(address, settings)
    address.check_password()
    # After the start of the broker, which comes up while torch is imported.
    predictor = await _predictor(settings, len(devices))
    for line in (*other_model(devices, predictor.id), *as_recorded(settings, devices)):
        terminal.say(line)
    engine = Engine(predictor)
    sensors, cuffs = assign(devices)
    wearers = [_wearer(settings, device, engine, clock) for device in sensors]
    options = message_options(settings, len(sensors))
    if settings.waveform is None and options.waveform == "off":
        terminal.say(f"no waveforms for more than {MOST_WAVES} devices: --waveform on has them")
    mqtt = await stack.enter_async_context(
        MqttSink.open(
            address,
            topic=settings.topic,
            node=settings.node,
            spool_limit=round(settings.spool_mb * 1024 * 1024),
            options=options,
            wait=_waits(settings, devices),
        )
    )
    ids = [wearer.device.id for wearer in wearers]
    recorders = recorders_for(settings, predictor, ids, clock)
    recorder = await stack.enter_async_context(
        recorders.running(place(settings.record) if settings.record else None)
    )
    if recorder is not None:
        terminal.say(f"recording to {recorder.path}")
    more = await _more_sinks(settings, clock, stack)
    terminal.say(_welcome(address, settings.topic))
    board, page = Board(), PageCommands()
    board.status = partial(status, mqtt, recorders)
    measured = MeasurementSink()
    mqtt.watch_delays(measured.outbox.add)
    state = RunState(wearers, engine, mqtt, outcomes.of, measured, lambda: recorders.files)
    served = http_server(settings, board, page, operation(state))
    if (at := await stack.enter_async_context(served)) is not None:
        terminal.say(at)
        more.append(board)
    more.append(measured)
    sinks = FanOut([mqtt, terminal, outcomes, recorders, *more], apart=True)
    out: Sink = (alarms := AlarmSink(sinks, settings.alarm))
    stamping = None
    if settings.speed == 1 and all(device.source != "replay" for device in devices):
        out = stamping = StampingSink(out, clock, settings.late)
    return _Run(
        clock=clock,
        predictor=predictor,
        engine=engine,
        wearers=wearers,
        cuffs=cuffs,
        mqtt=mqtt,
        terminal=terminal,
        outcomes=outcomes,
        recorders=recorders,
        page=page,
        state=state,
        service=ServiceManager.found(),
        alarms=alarms,
        stamping=stamping,
        out=out,
    )


def message_options(settings: Settings, wearers: int) -> MessageOptions:
    """Return the form of the messages of so many wearers."""
    chosen = settings.waveform or ("on" if wearers <= MOST_WAVES else "off")
    return MessageOptions(
        "json" if chosen == "on" else chosen,
        settings.home_assistant,
        settings.fhir,
        settings.keep_address,
        settings.beats_on,
    )


async def _predictor(settings: Settings, wearers: int) -> Predictor:
    few = settings.compute == "auto" and wearers < GPU_FROM
    # With several threads, another busy process makes the slowest window 60 times slower.

    def load() -> Predictor:
        from innpar.models.predictor import Predictor

        predictor = Predictor.load(
            settings.model,
            backend=settings.backend,
            compute="cpu" if few else settings.compute,
            threads=1,
        )
        preload()
        m = predictor.manifest
        conditioning_matrix(m.window, m.guard, m.rate, m.band)  # for the cache
        return predictor

    return await asyncio.to_thread(load)


def _wearer(settings: Settings, device: Device, engine: Engine, clock: SystemClock) -> Wearer:
    return enrol(
        device,
        engine,
        clock,
        duration=settings.duration,
        cuffs=list(settings.cuff),
        require_calibration=required(settings, device),
        memory=CalibrationStore(state_folder()) if settings.remember else None,
        wrist_height=settings.wrist_height,
        mode=latency_mode(settings, device),
    )


async def _more_sinks(settings: Settings, clock: SystemClock, stack: AsyncExitStack) -> list[Sink]:
    """Open the optional sinks in the settings, beside those of every run."""
    sinks: list[Sink] = []
    if settings.lsl_out:
        from innpar.stream.sinks.lsl import LslSink

        sinks.append(await stack.enter_async_context(LslSink.open(clock)))
    if settings.json_:
        sinks.append(await stack.enter_async_context(JsonSink.open(sys.stdout)))
    return sinks


def _beside(settings: Settings, parts: _Run) -> list[asyncio.Task[None]]:
    """Start the tasks beside the streams: commands, markers of other programs, cuffs."""
    wearers, out, clock = parts.wearers, parts.out, parts.clock

    def beside(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(supervised(name, work, wearers, out, clock), name=name)

    def commands(source: CommandSource) -> Awaitable[None]:
        return run_commands(source, wearers, clock, parts.recorders)

    tasks = [
        beside("the execution of commands", partial(commands, source))
        for source in (parts.mqtt, parts.page)
    ]
    if settings.lsl_markers is not None:
        from innpar.devices.lsl.markers import LslMarks

        markers = LslMarks(settings.lsl_markers)
        work = partial(forward_markers, markers, wearers, out, clock)
        tasks.append(beside("the reception of LSL markers", work))
    if parts.service.address is not None:
        engine = parts.engine
        works = NetworkProgress(lambda: engine.calls, lambda: engine.waiting)
        work = partial(parts.service.watch, works, partial(status_line, parts.state))
        tasks.append(beside("the sign of life to the service manager", work))
    for cuff in parts.cuffs:
        work = partial(forward_cuff, cuff, wearers, out, clock)
        tasks.append(beside(f"the connection to {cuff.id}", work))
    return tasks


async def _stream(parts: _Run) -> None:
    """Stream to the end, and give the broker time for the last messages."""

    def pressed(text: str) -> None:
        if text == MOVED:
            moved_all(parts.wearers)
        else:
            mark_all(parts.wearers, text, parts.clock)

    with parts.terminal, listening(sys.stdin, pressed) as keys:
        if keys:
            parts.terminal.say(
                "press space, a letter or a digit to mark a moment, ! once the sensor was moved, "
                "Ctrl-C to stop"
            )
        await run(parts.wearers, parts.engine, parts.out, parts.clock, parts.recorders)
        # Messages without an acknowledgement by then are spooled and delivered by the next run.
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_DELIVERY):
                await parts.mqtt.flush()


async def _close(parts: _Run, tasks: Sequence[asyncio.Task[None]], began: float) -> None:
    """End the tasks beside the streams, and report.

    Args:
        tasks: Those tasks.
        began: CPU-seconds of this process before the streams.
    """
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("a task beside the streams failed", exc_info=ended)
    spent = time.process_time() - began
    streamed = sum(wearer.seconds for wearer in parts.wearers)
    population = parts.predictor.manifest.training.get("population_mmhg")
    if streamed:
        lines = report(parts.wearers, parts.outcomes.of, population)
        for line in [*lines, cost(streamed, spent)]:
            parts.terminal.say(line)


def _waits(settings: Settings, devices: Sequence[Device]) -> bool:
    """Whether the run starts without a broker that cannot be reached."""
    if settings.broker_wait is not None:
        return settings.broker_wait == "retry"
    return any(shown_source(device) == "live" for device in devices)


def _broker(settings: Settings) -> AbstractAsyncContextManager[Address]:
    own = broker_listening(settings.embedded_broker_listen, settings.embedded_broker_passwords)
    if settings.broker in (None, "embedded"):
        return broker_for(
            None, embedded=settings.broker is not None or own is not None, settings=own
        )
    if own is not None:
        raise ConfigError("--embedded-broker-listen and --broker URL: leave one of them out")
    return broker_for(settings.broker)


def _welcome(address: Address, topic: str) -> str:
    kind = "embedded broker" if address.embedded else "broker"
    port = "" if address.port == 1883 else f" -p {address.port}"
    host = "" if address.embedded or address.host == "localhost" else f" -h {address.host}"
    return (
        f"{kind} on {address.host}:{address.port}; "
        f"subscribe: mosquitto_sub{host}{port} -t {topic}/estimates"
    )


def cost(signal_seconds: float, cpu_seconds: float) -> str:
    """Return a line with the cost of a run, without that of an embedded broker's process."""
    import resource

    speed = signal_seconds / cpu_seconds if cpu_seconds > 0 else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{signal_seconds:.0f} s of signal in {cpu_seconds:.1f} CPU-seconds: "
        f"{speed:.0f} s of signal per CPU-second, model included; peak memory {peak:.0f} MB"
    )
