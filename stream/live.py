"""One run, from settings to exit status."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial

from ..devices import Device
from ..devices.pace import SystemClock
from ..devices.session import Session
from ..devices.session_look import running
from ..devices.session_read import SessionFile
from .address import Address
from .attend import assign, attend, heed
from .broker import broker_for
from .config import Settings
from .engine import Engine
from .jsonlines import JsonSink, ReaderGone
from .keys import listening
from .mqtt import MqttSink
from .opening import open_devices
from .orders import mark_all, obey
from .outcome import OutcomeSink, report
from .pipeline import run
from .press import Edition
from .recorder import place
from .recording import deck_for
from .remember import Memory
from .sink import FanOut, Sink
from .state import state_folder
from .terminal import TerminalSink
from .wearer import Wearer, enrol

log = logging.getLogger(__name__)

LAST_DELIVERY = 20.0
"""s at the end of a run for what the broker has not acknowledged yet."""


def start(settings: Settings) -> int:
    """Run until the sources end or somebody stops it; return the exit status."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if settings.verbose else logging.WARNING,
        format="%(message)s",
    )
    devices = open_devices(settings)
    with asyncio.Runner() as runner:
        return runner.run(_until_signal(settings, devices))


async def _until_signal(settings: Settings, devices: Sequence[Device]) -> int:
    """End in order on SIGINT and SIGTERM; the first counts, a second changes nothing."""
    task = asyncio.current_task()
    stopped = asyncio.Event()

    def stop() -> None:
        if task is not None and not stopped.is_set():
            stopped.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await _main(settings, devices)
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise
        return 0


async def _main(settings: Settings, devices: Sequence[Device]) -> int:
    clock = SystemClock()
    terminal = TerminalSink(quiet=settings.json_)
    outcomes = OutcomeSink()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(_broker(settings.broker))
        # After the broker has been started: it comes up while torch is being imported.
        import torch

        from ..models.predictor import Predictor

        # With more threads than one, a busy neighbour makes the slowest window 60 times slower.
        torch.set_num_threads(1)
        predictor = await asyncio.to_thread(
            Predictor.load, settings.model, compute=settings.compute
        )
        for line in (*other_model(devices, predictor.id), *as_recorded(settings, devices)):
            terminal.say(line)
        engine = Engine(predictor)
        sensors, cuffs = assign(devices)
        wearers = [
            enrol(
                device,
                engine,
                clock,
                duration=settings.duration,
                cuffs=list(settings.cuff),
                require_calibration=required(settings, device),
                memory=Memory(state_folder()) if settings.remember else None,
                wrist_height=settings.wrist_height,
            )
            for device in sensors
        ]
        edition = Edition(
            settings.waveform, settings.home_assistant, settings.fhir, settings.keep_address
        )
        mqtt = await stack.enter_async_context(
            MqttSink.open(address, topic=settings.topic, edition=edition)
        )
        sinks: list[Sink] = [mqtt, terminal, outcomes]
        ids = [wearer.device.id for wearer in wearers]
        deck = deck_for(settings, predictor.manifest, ids, clock)
        recorder = await stack.enter_async_context(
            deck.running(place(settings.record) if settings.record else None)
        )
        sinks.append(deck)
        if recorder is not None:
            terminal.say(f"recording to {recorder.path}")
        if settings.lsl_out:
            from .lsl_sink import LslSink

            sinks.append(await stack.enter_async_context(LslSink.open(clock)))
        if settings.json_:
            sinks.append(await stack.enter_async_context(JsonSink.open(sys.stdout)))
        terminal.say(_welcome(address, settings.topic))
        out, others = FanOut(sinks), None
        if settings.lsl_markers is not None:
            from ..devices.lsl_marks import LslMarks

            others = LslMarks(settings.lsl_markers)
        aside = [asyncio.create_task(obey(mqtt, wearers, clock, deck), name="commands")]
        if others is not None:
            aside.append(asyncio.create_task(heed(others, wearers, out, clock), name="markers"))
        aside += [asyncio.create_task(attend(cuff, wearers, out, clock)) for cuff in cuffs]
        began = time.process_time()
        try:
            with terminal, listening(sys.stdin, partial(_pressed, wearers, clock)) as keys:
                if keys:
                    terminal.say("space, a letter or a digit marks the moment; Ctrl-C ends")
                await run(wearers, engine, out, clock, deck)
                # What the broker does not take by then is spooled and delivered by the next run.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_DELIVERY):
                        await mqtt.flush()
        except ReaderGone:
            log.warning("nobody reads standard output any more; stopping")
        finally:
            for task in aside:
                task.cancel()
            for ended in await asyncio.gather(*aside, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.error("what goes on beside the streams had failed", exc_info=ended)
            spent = time.process_time() - began
            streamed = sum(wearer.seconds for wearer in wearers)
            population = predictor.manifest.training.get("population_mmhg")
            if streamed:
                for line in [*report(wearers, outcomes.of, population), cost(streamed, spent)]:
                    terminal.say(line)
    return 0


def _pressed(wearers: Sequence[Wearer], clock: SystemClock, text: str) -> None:
    mark_all(wearers, text, clock)


def other_model(devices: Sequence[Device], model: str) -> Iterator[str]:
    """Yield, of every session that is replayed with another model than its own, that it is."""
    for device in devices:
        if not isinstance(device, Session):
            continue
        with SessionFile(device.path, device.seen) as file:
            told = running(file).get("model")
        recorded = told.get("id") if isinstance(told, dict) else None
        if recorded not in (None, model):
            yield f"{device.id}: recorded with {recorded}, estimated anew with {model}"


def required(settings: Settings, device: Device) -> bool:
    """Return whether a device gives no pressures before a reading: as asked, else as recorded."""
    if settings.require_calibration is not None:
        return settings.require_calibration
    return isinstance(device, Session) and device.require_calibration


def as_recorded(settings: Settings, devices: Sequence[Device]) -> Iterator[str]:
    """Yield, of every session whose recording says how it is to be replayed, that it does."""
    for device in devices:
        if settings.require_calibration is None and required(settings, device):
            yield (
                f"{device.id}: no pressures before a cuff reading, as it was recorded "
                "(--no-require-calibration gives them)"
            )


def _broker(url: str | None) -> AbstractAsyncContextManager[Address]:
    if url == "embedded":
        return broker_for(None, embedded=True)
    return broker_for(url)


def _welcome(address: Address, topic: str) -> str:
    kind = "embedded broker" if address.embedded else "broker"
    port = "" if address.port == 1883 else f" -p {address.port}"
    host = "" if address.embedded or address.host == "localhost" else f" -h {address.host}"
    return (
        f"{kind} on {address.host}:{address.port}; "
        f"subscribe: mosquitto_sub{host}{port} -t {topic}/estimates"
    )


def cost(signal_seconds: float, cpu_seconds: float) -> str:
    """Return what a run cost; a broker of our own is another process and not in it."""
    import resource

    speed = signal_seconds / cpu_seconds if cpu_seconds > 0 else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{signal_seconds:.0f} s of signal in {cpu_seconds:.1f} CPU-seconds: "
        f"{speed:.0f} s of signal a CPU-second, model included; {peak:.0f} MB at most"
    )
