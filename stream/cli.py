"""The command line: argparse in front, everything heavy imported once a command runs."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  innpar-stream --device polar-verity                 a Polar Verity Sense on the forearm
  innpar-stream --device polar-verity --cuff 128/79   with a cuff reading taken just now
  innpar-stream --device demo                         a simulated wearer, nothing to put on
  innpar-stream --device replay:walk.txt --speed max --json > beats.jsonl
  innpar-stream --device demo --record night.mcap     recorded; `replay night.mcap` plays it
  innpar-stream calibrate 128/79                      a cuff reading for the run going on
  innpar-stream devices                               what --device can name
  innpar-stream watch                                 what is being published right now

Research software: not a medical device, not for diagnosis or treatment.
"""

Command = Callable[[argparse.Namespace], int]

SESSION = ("info", "verify", "repair", "cut", "merge", "redact", "export", "plot")
NO_RANGE = """\
its outputs have no unit: which pressures 0 and 1 stand for, a checkpoint does not say
a cuff reading scales them, and there are no pressures before one: innpar-stream calibrate 128/79
where you know the range that it was trained with, import it again with --abp-range MIN MAX"""
FORMATS = ("csv", "parquet", "edf", "wfdb", "xdf", "fhir")


def _run_arguments(parser: argparse.ArgumentParser, *, device: bool = True) -> None:
    run = parser.add_argument_group("a run")
    if device:
        run.add_argument(
            "--device",
            action="append",
            metavar="NAME[:ARGUMENT]",
            help="where samples come from; repeat it for several wearers",
        )
        run.add_argument(
            "--rate",
            metavar="HZ",
            help="of the light, for each device that leaves a choice and is not told by itself "
            "(?rate=…); a Polar: 28, 44, 55, 135 or 176",
        )
    run.add_argument(
        "--broker", metavar="URL", help="mqtt:// or mqtts://[user:password@]host[:port]"
    )
    run.add_argument("--topic", metavar="ROOT", help="first part of every topic (bp)")
    run.add_argument(
        "--waveform", metavar="json|raw", help="on MQTT, as JSON or as float32 samples (json)"
    )
    run.add_argument(
        "--home-assistant",
        nargs="?",
        const="homeassistant",
        metavar="PREFIX",
        help="tell Home Assistant of the devices, on its discovery topics (homeassistant)",
    )
    run.add_argument(
        "--fhir", action="store_const", const=True, help="summaries as FHIR observations too"
    )
    run.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML; flags win")
    run.add_argument("--model", metavar="FILE", help="a model's manifest.json, or its folder")
    run.add_argument(
        "--compute",
        metavar="auto|cpu|cuda[:N]",
        help="where the network runs (auto: a GPU where there is one and it agrees with the CPU)",
    )
    run.add_argument(
        "--cuff",
        action="append",
        metavar="[DEVICE=]SBP/DBP[@SECONDS]",
        help="a cuff reading, mmHg; now, or so many seconds of signal after the start",
    )
    run.add_argument(
        "--require-calibration",
        action=argparse.BooleanOptionalAction,
        help="publish no pressures before a cuff reading; a replay does as its recording did",
    )
    run.add_argument(
        "--no-remember",
        dest="remember",
        action="store_const",
        const=False,
        help="neither keep a live wearer's calibration and a sensor's address for the next run nor "
        "take the last one's",
    )
    run.add_argument(
        "--wrist-height",
        metavar="CM",
        help="of the sensor above the heart, below it negative: adds 0.77 mmHg a cm, after a cuff "
        "reading for the change of height since the reading alone",
    )
    run.add_argument("--speed", metavar="N|max", help="of replays and the demo, times real time")
    run.add_argument(
        "--duration",
        metavar="SECONDS",
        help="of signal, then stop; a sensor that is silent after as much time is not waited for",
    )
    run.add_argument(
        "--record",
        metavar="PATH",
        help="a file, or a folder (FOLDER/ is made) in which it gets a dated name",
    )
    run.add_argument(
        "--keep-address",
        action="store_const",
        const=True,
        help="record and publish radio addresses and serial numbers as they are, not as pseudonyms",
    )
    run.add_argument(
        "--subject",
        action="append",
        metavar="[DEVICE=]NAME",
        help="whom the recording is of; a pseudonym where nobody is named",
    )
    run.add_argument(
        "--json", action="store_const", const=True, help="beats as JSON lines on standard output"
    )
    run.add_argument(
        "--virtual",
        action="store_const",
        const=True,
        help="the real driver on a virtual radio and sensor, worn by the simulated wearer",
    )
    run.add_argument(
        "--wearer",
        metavar="FILE",
        help="a recording that the virtual sensor is shown instead, over and over",
    )
    run.add_argument(
        "--fault",
        action="append",
        metavar="KEY=VALUE",
        help="of the virtual sensor: drop=0.05, reorder=, truncate=, jitter=, ppm=500, rate=0.9, "
        "mtu=23, sdk=refuse, stall=20+5, loss=30+3, battery=60 (seconds); repeat it for several",
    )
    run.add_argument(
        "--lsl-out",
        action="store_const",
        const=True,
        help="PPG, ABP and beats as LSL streams too, for LabRecorder",
    )
    run.add_argument(
        "--lsl-markers",
        nargs="?",
        const="",
        metavar="QUERY",
        help="other programs' markers, from LSL streams of type Markers, or name=…",
    )
    run.add_argument("--verbose", action="store_const", const=True, help="say more")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="innpar-stream",
        description="Live arterial blood pressure from a wrist-worn light sensor, over MQTT.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("innpar-stream"))
    _run_arguments(parser)
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(title="commands", metavar="")

    def command(name: str, about: str, function: Command) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=function)
        return sub

    command("devices", "list the devices that --device can name", _devices)

    doctor = command("doctor", "check what a run needs from this computer", _doctor)
    doctor.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    doctor.add_argument("--model", type=Path, metavar="FILE", help="a manifest.json or its folder")

    scan = command("scan", "list the Bluetooth sensors in reach", _scan)
    scan.add_argument("--seconds", type=float, default=5.0, help="to listen (5)")

    decode = command("decode", "captured notifications as samples, a JSON line each", _decode)
    decode.add_argument("device", metavar="DEVICE", help="such as polar-verity?rate=55")
    decode.add_argument(
        "file", nargs="?", type=argparse.FileType("rb"), default="-", help="hex, one a line (stdin)"
    )

    watch = command("watch", "subscribe, and show what arrives", _watch)
    watch.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    watch.add_argument("--topic", metavar="TOPIC", help="what to subscribe to (bp/estimates)")
    watch.add_argument("--json", action="store_true", help="payloads as they come, a line each")

    calibrate = command("calibrate", "a cuff reading for a run that is going on", _calibrate)
    calibrate.add_argument("reading", metavar="SBP/DBP", help="mmHg, such as 128/79")
    calibrate.add_argument("--device", metavar="ID", help="whose; where only one is online, that")
    calibrate.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    calibrate.add_argument("--topic", metavar="ROOT", help="first part of every topic (bp)")

    replay = command("replay", "play a recording: a session or another's", _replay)
    replay.add_argument(
        "file", metavar="FILE[?key=value&…]", help="its format's options may follow, as of --device"
    )
    replay.add_argument("--from", dest="from_", metavar="SECONDS", help="into it, where to begin")
    replay.add_argument("--to", metavar="SECONDS", help="into it, where to end")
    replay.add_argument("--loop", nargs="?", const="on", metavar="TIMES", help="play it again")
    replay.add_argument(
        "--redecode", action="store_const", const="on", help="decode its raw frames once more"
    )
    replay.add_argument(
        "--no-cuffs",
        dest="cuffs",
        action="store_const",
        const="off",
        help="without a session's own cuff readings, such as where --cuff gives another",
    )
    replay.add_argument("--only", metavar="DEVICE", help="which of a session's devices")
    replay.add_argument("--rate", metavar="HZ", help="of a table without times")
    replay.add_argument("--channel", metavar="NAME", help="which column or trace is the pulse")
    replay.add_argument("--unit", metavar="s|ms|us|ns", help="of a table's times")
    _run_arguments(replay, device=False)

    session = command("session", "look into a recording, check it, mend it, export it", _session)
    session.add_argument("action", choices=SESSION)
    session.add_argument("file", type=Path, metavar="FILE")
    session.add_argument(
        "more",
        type=Path,
        nargs="*",
        metavar="OUT",
        help="file to write, or folder (export); for merge, more files and then the one to write",
    )
    session.add_argument("--from", dest="from_", type=float, default=0.0, metavar="SECONDS")
    session.add_argument("--to", type=float, default=float("inf"), metavar="SECONDS")
    session.add_argument(
        "--at", metavar="TIME", help="plot a detail from there: seconds, H:MM:SS or ISO-8601"
    )
    session.add_argument("--seconds", type=float, default=10.0, help="that a detail shows (10)")
    session.add_argument("--format", choices=FORMATS, default="csv", help="of an export (csv)")

    report = command("report", "a session as one HTML page to read and print", _report)
    report.add_argument("file", type=Path, metavar="FILE")
    report.add_argument("out", type=Path, nargs="?", metavar="OUT.html")

    config = command("config", "write a commented configuration", _config)
    config.add_argument("action", choices=["init"])
    config.add_argument("file", nargs="?", type=Path, default=Path("innpar.toml"))

    train = command("train", "train the network on recordings in the shared layout", _train)
    train.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds index.csv")
    train.add_argument("--config", type=Path, metavar="FILE", help="TOML; configs/train.toml else")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the model")

    train.add_argument("--resume", action="store_true", help="continue what was interrupted")
    train.add_argument(
        "--no-tables",
        action="store_true",
        help="without the cross-fit for calibration and intervals, which takes four "
        "times as long as the training itself",
    )

    evaluate = command(
        "evaluate", "accuracy through the live pipeline, beside baselines", _evaluate
    )
    evaluate.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds index.csv")
    evaluate.add_argument("--split", default="test", help="train, val, test or rejects (test)")
    evaluate.add_argument("--model", type=Path, metavar="FILE", help="the shipped one else")
    evaluate.add_argument(
        "--cuff-every",
        default="30",
        metavar="MINUTES",
        help="a cuff reading every so many minutes, once (one at the start) or never (30)",
    )
    evaluate.add_argument(
        "--every", type=int, default=1, metavar="N", help="every N-th record: a quick look"
    )
    evaluate.add_argument("--report", type=Path, metavar="OUT.html", help="with plots")
    evaluate.add_argument("--json", action="store_true", help="the figures as JSON")

    bench = command("bench", "measure speed on this computer, as ratios in one run", _bench)
    bench.add_argument(
        "--model", nargs="?", const="", metavar="FILE", help="the network (the shipped one)"
    )

    model = command("model", "import a checkpoint, or export a model for other runtimes", _model)
    model.add_argument(
        "action",
        choices=["import", "export"],
        help="import: a checkpoint of the original INN-PAR code; export: a model for --target",
    )
    model.add_argument("source", type=Path, help="CHECKPOINT.pth, or a manifest.json or its folder")
    model.add_argument("out", type=Path, help="folder for the model file and its manifest")
    model.add_argument(
        "--target",
        action="append",
        choices=["aot", "onnx"],
        help="beside TorchScript; aot: compiled for this kind of processor",
    )
    model.add_argument(
        "--abp-range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="of an import: mmHg that the outputs 0 and 1 stand for, which a checkpoint does not "
        "say; without it a cuff reading scales them, and there are no pressures before one",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0 done, 2 could not start, 1 failed later."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # whoever read has enough, such as `head`
        from .sink import silence

        silence(sys.stdout)
        status = 0
    except Exception as error:
        if not _is_ours(error):
            raise
        for line in str(error).splitlines():
            print(f"innpar-stream: {line}", file=sys.stderr)
        status = 1 if getattr(error, "after_start", False) else 2
    return status


def _is_ours(error: Exception) -> bool:
    """Whether a person can put it right, so that one line says it all."""
    from ..devices import DeviceError
    from ..models.errors import ModelError
    from .errors import BrokerError, ConfigError, SessionError

    return isinstance(error, (DeviceError, ModelError, BrokerError, ConfigError, SessionError))


FLAGS = (
    "device",
    "rate",
    "broker",
    "topic",
    "waveform",
    "home_assistant",
    "fhir",
    "model",
    "compute",
    "cuff",
    "require_calibration",
    "remember",
    "wrist_height",
    "speed",
    "duration",
    "record",
    "keep_address",
    "subject",
    "json",
    "virtual",
    "wearer",
    "fault",
    "lsl_out",
    "lsl_markers",
    "verbose",
)


def _run(options: argparse.Namespace) -> int:
    from .config import load
    from .live import start

    flags: dict[str, Any] = {name: getattr(options, name, None) for name in FLAGS}
    return start(load(flags, options.config))


def _replay(options: argparse.Namespace) -> int:
    chosen = {
        "from": options.from_,
        "to": options.to,
        "loop": options.loop,
        "redecode": options.redecode,
        "cuffs": options.cuffs,
        "device": options.only,
        "channel": options.channel,
        "unit": options.unit,
    }
    file, _, said = options.file.partition("?")
    if said and Path(options.file).exists():
        from .errors import ConfigError

        raise ConfigError(f"{options.file}: a file to be replayed has no ? in its name; rename it")
    pairs = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    tail = "&".join([said, *pairs] if said else pairs)
    options.device = [f"replay:{file}" + (f"?{tail}" if tail else "")]
    return _run(options)


def _session(options: argparse.Namespace) -> int:
    from . import session, session_edit
    from .errors import ConfigError

    file, more = options.file, options.more
    if options.action in ("cut", "merge", "redact") and not more:
        raise ConfigError(
            f"session {options.action}: name the file to write, after the one to read"
        )
    if options.action == "merge":
        return session_edit.merge([file, *more[:-1]], more[-1])
    if len(more) > 1:
        raise ConfigError(f"session {options.action}: takes one file to write, not {len(more)}")
    out = more[0] if more else None
    if options.action == "info":
        return session.info(file)
    if options.action == "verify":
        return session.verify(file)
    if options.action == "repair":
        return session.repair(file, out)
    if options.action == "cut":
        return session_edit.cut(file, more[0], options.from_, options.to)
    if options.action == "redact":
        return session_edit.redact(file, more[0])
    if options.action == "plot":
        from .session_plot import plot

        return plot(file, out, options.at, options.seconds)
    from .export.formats import export

    return export(file, out, options.format)


def _report(options: argparse.Namespace) -> int:
    from .reporting.write import report

    return report(options.file, options.out)


def _devices(_: argparse.Namespace) -> int:
    from ..devices.registry import listed

    lines = listed()
    width = max(map(len, lines))
    for name, about in lines.items():
        print(f"{name:<{width}}  {about}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import doctor

    return doctor(options.broker, options.model)


def _scan(options: argparse.Namespace) -> int:
    import asyncio

    from ..devices.scan import survey, table

    print(table(asyncio.run(survey(options.seconds))))
    return 0


def _decode(options: argparse.Namespace) -> int:
    from ..devices.decode import decode
    from ..devices.strict import strict_json

    with options.file as file:
        lines = (line.decode("utf-8", "replace") for line in file)
        for record in decode(options.device, lines):
            print(strict_json(record))
    return 0


def _watch(options: argparse.Namespace) -> int:
    from .watch import watch

    return watch(options.broker, options.topic, as_json=options.json)


def _calibrate(options: argparse.Namespace) -> int:
    from .ask import calibrate

    return calibrate(
        options.reading, device=options.device, url=options.broker, topic=options.topic
    )


def _config(options: argparse.Namespace) -> int:
    from importlib.resources import files

    from .errors import ConfigError

    text = files("innpar.configs").joinpath("default.toml").read_text(encoding="utf-8")
    try:
        with options.file.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{options.file}: exists already; name another file") from None
    except OSError as error:
        raise ConfigError(f"{options.file}: cannot be written ({error.strerror})") from None
    print(f"{options.file} written; use it with: innpar-stream --config {options.file}")
    return 0


def _train(options: argparse.Namespace) -> int:
    # read once, by numpy's import; with more, its products round by the number of cores
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from .training import train

    return train(
        options.data,
        options.config,
        options.out,
        resume=options.resume,
        tables=not options.no_tables,
    )


def _evaluate(options: argparse.Namespace) -> int:
    from .errors import ConfigError
    from .evaluate import evaluate

    words = {"once": math.inf, "never": None}
    try:
        minutes = (
            words[options.cuff_every] if options.cuff_every in words else float(options.cuff_every)
        )
    except ValueError:
        raise ConfigError(
            f"--cuff-every: minutes, once or never, not {options.cuff_every!r}"
        ) from None
    evaluate(
        options.data,
        split=options.split,
        model=options.model,
        cuff_minutes=minutes,
        thin=options.every,
        report=options.report,
        as_json=options.json,
    )
    return 0


def _bench(options: argparse.Namespace) -> int:
    from .bench import bench_model

    return bench_model(Path(options.model) if options.model else None)


def _model(options: argparse.Namespace) -> int:
    if options.action == "import":
        from ..models.published import import_checkpoint

        made = import_checkpoint(
            options.source,
            options.out,
            pressures=tuple(options.abp_range or (0.0, 1.0)),
            targets=options.target or [],
        )
        if made.relative:
            print(NO_RANGE)
    else:
        from .errors import ConfigError

        if options.abp_range:
            raise ConfigError("--abp-range is of an import; a model's manifest has its range")
        from ..models.export import export_again

        export_again(options.source, options.out, options.target or [])
    print(f"{options.out}: use it with: innpar-stream --model {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
