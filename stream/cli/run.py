"""``innpar-stream`` without a command: stream from one or several devices."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream --device polar-verity                 a Polar Verity Sense on the forearm
  innpar-stream --device polar-verity --cuff 128/79   with a cuff reading taken just now
  innpar-stream --device demo                         a simulated wristband, no hardware needed
  innpar-stream --device replay:walk.txt --speed max --json > beats.jsonl
  innpar-stream --device demo --record night.mcap     record; `replay night.mcap` plays it back
  innpar-stream --device demo --view --open           also show the live page in the browser
  innpar-stream calibrate 128/79                      send a cuff reading to a running stream
  innpar-stream devices                               list the names that --device accepts
  innpar-stream COMMAND --help                        options and examples of a command

Research software: not a medical device, not for diagnosis or treatment.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every flag of a run; each but ``--config`` is a key of the configuration."""
    source = parser.add_argument_group("devices")
    source.add_argument(
        "--device",
        action="append",
        metavar="NAME[:ARGUMENT]",
        help="device to stream from; repeat for several wearers (list: innpar-stream devices)",
    )
    source.add_argument(
        "--rate",
        metavar="HZ",
        help="PPG sampling rate in Hz, for devices that offer several (Polar: 28, 44, 55, 135 or "
        "176); ?rate=… on a device overrides it",
    )
    add_stream_arguments(parser)


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that a run and a replay share."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML configuration; flags override it"
    )
    parser.add_argument(
        "--verbose", action="store_const", const=True, help="log progress to standard error"
    )
    _add_pace(parser.add_argument_group("pace"))
    _add_calibration(parser.add_argument_group("calibration"))
    _add_mqtt(parser.add_argument_group("MQTT"))
    _add_outputs(parser.add_argument_group("other inputs and outputs"))
    _add_view(parser.add_argument_group("live page and operation"))
    _add_recording(parser.add_argument_group("recording"))
    _add_model(parser.add_argument_group("model"))
    _add_virtual(parser.add_argument_group("virtual sensors"))


def run(options: argparse.Namespace) -> int:
    """Stream until the sources end or a signal arrives."""
    from innpar.stream.app.run import start
    from innpar.stream.app.settings import KEYS, load

    flags = {key: getattr(options, key) for key in KEYS}
    again = None if options.config is None else partial(load, flags, options.config)
    return start(load(flags, options.config), again)


def _add_pace(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--speed", metavar="N|max", help="multiple of real time, for replays and the demo (1)"
    )
    group.add_argument(
        "--duration",
        metavar="TIME",
        help="stop after this much signal, or after this long without any: seconds, 5m, 1.5h",
    )
    group.add_argument(
        "--latency",
        metavar="low|normal",
        help="low: beats half a second sooner, at some 2.5 times the CPU time (normal; for a "
        "replay, as recorded)",
    )
    group.add_argument(
        "--early",
        action=argparse.BooleanOptionalAction,
        help="publish SBP and DBP on bp/devices/<device>/early before the beat has ended "
        "(default: with --latency low; for a replay, as recorded)",
    )


def _add_calibration(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cuff",
        action="append",
        metavar="[DEVICE=]SBP/DBP[@SECONDS]",
        help="cuff reading in mmHg, taken now or at this many seconds of signal; repeatable",
    )
    group.add_argument(
        "--require-calibration",
        action=argparse.BooleanOptionalAction,
        help="publish no pressures before the first cuff reading (default: off; for a replay, "
        "as recorded)",
    )
    group.add_argument(
        "--no-remember",
        dest="remember",
        action="store_const",
        const=False,
        help="do not load or save calibrations and sensor addresses between runs",
    )
    group.add_argument(
        "--wrist-height",
        metavar="CM",
        help="height of the sensor above the heart, negative below it; adds 0.77 mmHg per cm "
        "(after a cuff reading: per cm moved since)",
    )


def _add_mqtt(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port], or embedded (default: localhost:1883, or "
        "an embedded broker if there is none)",
    )
    group.add_argument(
        "--broker-wait",
        metavar="retry|error",
        help="if the broker cannot be reached: start, record and try again, or end (retry for "
        "live devices)",
    )
    group.add_argument(
        "--password-file", metavar="FILE", help="file with the broker's password on its first line"
    )
    group.add_argument(
        "--allow-plaintext",
        action="store_const",
        const=True,
        help="send a password unencrypted (mqtt://) to another computer",
    )
    group.add_argument(
        "--embedded-broker-listen",
        metavar="HOST[:PORT]",
        help="let other computers use the embedded broker here (0.0.0.0: every network); needs "
        "mosquitto and a password file",
    )
    group.add_argument(
        "--embedded-broker-passwords",
        metavar="FILE",
        help="file of mosquitto_passwd with the users of other computers",
    )
    group.add_argument(
        "--node", metavar="NAME", help="name of this process on the broker (host name and a number)"
    )
    group.add_argument(
        "--spool-mb", metavar="MB", help="disk space for messages while the broker is away (64)"
    )
    group.add_argument(
        "--alarm",
        action="append",
        metavar="VALUE<LIMIT@SECONDS",
        help="publish alarm events for research, such as 'map<65@60'; may be repeated",
    )
    group.add_argument(
        "--late", metavar="SECONDS", help="delay beyond which a beat is marked late (10)"
    )
    group.add_argument("--topic", metavar="ROOT", help="first level of every topic (bp)")
    group.add_argument(
        "--waveform",
        metavar="on|raw|off",
        help="publish waveforms as JSON, as float32 samples with MQTT 5 properties, or not at all "
        "(on for up to 16 devices, else off)",
    )
    group.add_argument(
        "--beats-on",
        metavar="both|estimates|devices",
        help="publish each beat on <topic>/estimates, on its device's topic, or on both (both)",
    )
    group.add_argument(
        "--home-assistant",
        nargs="?",
        const="homeassistant",
        metavar="PREFIX",
        help="announce the devices to Home Assistant under this discovery prefix (homeassistant)",
    )
    group.add_argument(
        "--fhir",
        action="store_const",
        const=True,
        help="also publish summaries as FHIR observations",
    )


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--json",
        action="store_const",
        const=True,
        help="write beats as JSON lines to standard output, messages to standard error",
    )
    group.add_argument(
        "--lsl-out",
        action="store_const",
        const=True,
        help="also publish PPG, ABP and beats as LSL streams, e.g. for LabRecorder",
    )
    group.add_argument(
        "--lsl-markers",
        nargs="?",
        const="",
        metavar="QUERY",
        help="take markers from all LSL streams of type Markers, or from those matching name=…",
    )


def _add_view(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--view",
        nargs="?",
        const="",
        metavar="[HOST:]PORT",
        help="serve the live page (127.0.0.1:8787); any other host needs the printed token",
    )
    group.add_argument(
        "--open", action="store_const", const=True, help="also open the page in the browser"
    )
    group.add_argument(
        "--tui",
        action="store_const",
        const=True,
        help="show all wearers as a table in the terminal (more than two do so anyway)",
    )
    group.add_argument(
        "--metrics",
        nargs="?",
        const="",
        metavar="[HOST:]PORT",
        help="serve /metrics (Prometheus) and /health without the page, which has them too",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token of the page, metrics and health on its first line",
    )


def _add_recording(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--record",
        metavar="PATH",
        help="record to this file, or under a dated name in this folder (FOLDER/ is created)",
    )
    group.add_argument(
        "--subject",
        action="append",
        metavar="[DEVICE=]NAME",
        help="subject of the recording (default: a pseudonym)",
    )
    group.add_argument(
        "--keep-address",
        action="store_const",
        const=True,
        help="record and publish radio addresses and serial numbers instead of pseudonyms",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model", metavar="FILE", help="model manifest or its folder (default: shipped model)"
    )
    group.add_argument(
        "--compute",
        metavar="auto|cpu|cuda[:N]",
        help="processor for the network; auto: a GPU for many wearers if it agrees with the CPU",
    )
    group.add_argument(
        "--backend",
        metavar="NAME",
        help="code that runs the network: native, torchscript, eager, aot, onnx, numpy, cuda[:N] "
        "(default: native where it was built, else numpy)",
    )


def _add_virtual(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--virtual",
        action="store_const",
        const=True,
        help="run the real driver against a virtual radio and sensor with a simulated wearer",
    )
    group.add_argument(
        "--wearer",
        metavar="FILE",
        help="recording for the virtual sensor to play in a loop instead",
    )
    group.add_argument(
        "--fault",
        action="append",
        metavar="KEY=VALUE",
        help="fault of the virtual sensor: drop=0.05, reorder=, truncate=, jitter=, ppm=500, "
        "rate=0.9, mtu=23, sdk=refuse, stall=20+5, loss=30+3, battery=60 (seconds); repeatable",
    )
