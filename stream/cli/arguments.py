"""What can be said on the command line; imports nothing heavy, so that --help is quick."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

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

SESSION = ("info", "verify", "repair", "cut", "merge", "redact", "export", "plot")
FORMATS = ("csv", "parquet", "edf", "wfdb", "xdf", "fhir")

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
"""Flags of a run, each a key of the configuration."""


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


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="innpar-stream",
        description="Live arterial blood pressure from a wrist-worn light sensor, over MQTT.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=version("innpar-stream"))
    _run_arguments(whole)
    whole.set_defaults(command="run")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=name)
        return sub

    command("devices", "list the devices that --device can name")

    doctor = command("doctor", "check what a run needs from this computer")
    doctor.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    doctor.add_argument("--model", type=Path, metavar="FILE", help="a manifest.json or its folder")

    scan = command("scan", "list the Bluetooth sensors in reach")
    scan.add_argument("--seconds", type=float, default=5.0, help="to listen (5)")

    decode = command("decode", "captured notifications as samples, a JSON line each")
    decode.add_argument("device", metavar="DEVICE", help="such as polar-verity?rate=55")
    decode.add_argument(
        "file", nargs="?", type=argparse.FileType("rb"), default="-", help="hex, one a line (stdin)"
    )

    watch = command("watch", "subscribe, and show what arrives")
    watch.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    watch.add_argument("--topic", metavar="TOPIC", help="what to subscribe to (bp/estimates)")
    watch.add_argument("--json", action="store_true", help="payloads as they come, a line each")

    calibrate = command("calibrate", "a cuff reading for a run that is going on")
    calibrate.add_argument("reading", metavar="SBP/DBP", help="mmHg, such as 128/79")
    calibrate.add_argument("--device", metavar="ID", help="whose; where only one is online, that")
    calibrate.add_argument("--broker", metavar="URL", help="mqtt:// or mqtts://… (localhost:1883)")
    calibrate.add_argument("--topic", metavar="ROOT", help="first part of every topic (bp)")

    replay = command("replay", "play a recording: a session or another's")
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

    session = command("session", "look into a recording, check it, mend it, export it")
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
    session.add_argument("--seconds", type=float, help="that a detail shows (10)")
    session.add_argument("--format", choices=FORMATS, default="csv", help="of an export (csv)")

    report = command("report", "a session as one HTML page to read and print")
    report.add_argument("file", type=Path, metavar="FILE")
    report.add_argument("out", type=Path, nargs="?", metavar="OUT.html")

    config = command("config", "write a commented configuration")
    config.add_argument("action", choices=["init"])
    config.add_argument("file", nargs="?", type=Path, default=Path("innpar.toml"))

    train = command("train", "train the network on recordings in the shared layout")
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

    evaluate = command("evaluate", "accuracy through the live pipeline, beside baselines")
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

    bench = command("bench", "measure speed on this computer, as ratios in one run")
    bench.add_argument(
        "--model", nargs="?", const="", metavar="FILE", help="the network (the shipped one)"
    )

    model = command("model", "import a checkpoint, or export a model for other runtimes")
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
    return whole
