"""The command line: one table of commands, each in a file of its own that is imported on use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Protocol, cast

from innpar.errors import InnparError
from innpar.stream.cli import run
from innpar.stream.cli.parser import COMMAND, CommandParser

COMMANDS = {
    "replay": "replay a recording (a session file or a supported third-party format)",
    "devices": "list the devices that --device accepts",
    "scan": "list the Bluetooth sensors in range",
    "doctor": "check Bluetooth, LSL, broker, model, processor and disk",
    "calibrate": "send a cuff reading to a running stream",
    "watch": "show live MQTT messages in the terminal",
    "view": "show the live page of a recording, or of what other processes publish",
    "forget": "delete what is kept of a wearer here and on the broker",
    "session": "inspect, verify, repair, cut, merge, redact, plot or export a recording",
    "report": "write an HTML report of a recording",
    "config": "write a commented configuration file",
    "decode": "decode captured Bluetooth notifications to JSON lines",
    "train": "train the network",
    "evaluate": "measure accuracy through the live pipeline, next to baselines",
    "bench": "measure the network's speed on this computer",
    "model": "import a checkpoint, export a model to other runtimes, or add one from elsewhere",
}
"""Name → one line about it. The file `commands/NAME.py` holds the command."""


EXTRAS = {
    "torch": "torch",
    "scipy": "train",
    "matplotlib": "report",
    "neurokit2": "physiology",
    "pandas": "export",
    "pyarrow": "import",
    "serial": "serial",
    "bumble": "virtual",
    "amqtt": "broker",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}
"""Package that is not always installed → extra of `scripts/setup` that has it."""


class Command(Protocol):
    """A command: the module ``commands/NAME.py``.

    Attributes:
        EXAMPLES: Shown below the help.
    """

    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments; imports nothing slow."""

    def run(self, options: argparse.Namespace) -> int:
        """Run the command and return the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0 done, 2 could not start, 1 failed later."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser(given).parse_args(given)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader has enough, as `head` does
        from innpar.stream.sinks.jsonlines import silence

        silence(sys.stdout)
        status = 0
    except InnparError as error:
        from innpar.stream.messages.hygiene import printable

        for line in str(error).splitlines():
            print(f"innpar-stream: {printable(line, 4000)}", file=sys.stderr)
        status = 1 if getattr(error, "after_start", False) else 2
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = "train" if "train" in given[:1] else EXTRAS[package]
        print(f"innpar-stream: this needs {package}: scripts/setup {extra}", file=sys.stderr)
        status = 2
    return status


def parser(given: Sequence[str]) -> CommandParser:
    """Return the parser; only the commands that `given` may name are imported."""
    whole = CommandParser(
        allow_abbrev=False,  # else a command's --to is taken for --topic
        prog="innpar-stream",
        usage="%(prog)s [OPTIONS] --device NAME\n       %(prog)s COMMAND …",
        description="Live arterial blood pressure from a wrist-worn PPG sensor, over MQTT.",
        epilog=run.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=version("innpar-stream"))
    run.add_arguments(whole)
    whole.set_defaults(run=run.run)
    whole.given = given
    commands = whole.add_subparsers(title="commands", metavar=COMMAND, prog="innpar-stream")
    for name, about in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in given:
            command = cast(Command, import_module(f"innpar.stream.cli.commands.{name}"))
            command.add_arguments(sub)
            sub.set_defaults(run=command.run)
            sub.epilog = command.EXAMPLES
            sub.given, sub.outer = given, whole.options
    return whole


if __name__ == "__main__":
    sys.exit(main())
