"""The command line: every command imports what it needs once it runs."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from innpar.errors import InnparError
from innpar.stream.cli.arguments import FLAGS, parser

Command = Callable[[argparse.Namespace], int]

OF_SESSIONS = {
    "loop": "--loop", "redecode": "--redecode", "cuffs": "--no-cuffs", "device": "--only"
}  # fmt: skip

NO_RANGE = """\
its outputs have no unit: which pressures 0 and 1 stand for, a checkpoint does not say
a cuff reading scales them, and there are no pressures before one: innpar-stream calibrate 128/79
where you know the range that it was trained with, import it again with --abp-range MIN MAX"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0 done, 2 could not start, 1 failed later."""
    options = parser().parse_args(arguments)
    try:
        status: int = COMMANDS[options.command](options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # whoever read has enough, such as `head`
        from innpar.stream.sinks.jsonlines import silence

        silence(sys.stdout)
        status = 0
    except InnparError as error:
        for line in str(error).splitlines():
            print(f"innpar-stream: {line}", file=sys.stderr)
        status = 1 if getattr(error, "after_start", False) else 2
    return status


def _run(options: argparse.Namespace) -> int:
    from innpar.stream.app.run import start
    from innpar.stream.app.settings import load

    flags: dict[str, Any] = {name: getattr(options, name, None) for name in FLAGS}
    return start(load(flags, options.config))


def _replay(options: argparse.Namespace) -> int:
    from innpar.devices.options import UnknownOption
    from innpar.stream.errors import ConfigError

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
        raise ConfigError(f"{options.file}: a file to be replayed has no ? in its name; rename it")
    pairs = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    tail = "&".join([said, *pairs] if said else pairs)
    options.device = [f"replay:{file}" + (f"?{tail}" if tail else "")]
    try:
        return _run(options)
    except UnknownOption as error:
        flag = OF_SESSIONS.get(error.key)
        if flag is None:
            raise
        text = f"{file}: {flag} is for sessions that `--record` wrote, and this is none"
        raise ConfigError(text) from None


def _session(options: argparse.Namespace) -> int:
    from innpar.stream.errors import ConfigError
    from innpar.stream.session import edit as session_edit
    from innpar.stream.session import info as session

    file, more = options.file, options.more
    if options.action in ("cut", "merge", "redact") and not more:
        raise ConfigError(
            f"session {options.action}: name the file to write, after the one to read"
        )
    if options.action == "merge":
        return session_edit.merge([file, *more[:-1]], more[-1])
    if len(more) > 1:
        raise ConfigError(f"session {options.action}: takes one file to write, not {len(more)}")
    if more and options.action in ("info", "verify"):
        raise ConfigError(f"session {options.action}: takes one file and writes none")
    if options.action == "plot" and options.seconds is not None and options.at is None:
        raise ConfigError("session plot: --seconds is how long a detail is; add --at TIME")
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
        from innpar.stream.session.plot import plot

        return plot(file, out, options.at, 10.0 if options.seconds is None else options.seconds)
    from innpar.stream.session.export.formats import export

    return export(file, out, options.format)


def _report(options: argparse.Namespace) -> int:
    from innpar.stream.session.report.command import report

    return report(options.file, options.out)


def _devices(_: argparse.Namespace) -> int:
    from innpar.devices.registry import listed

    lines = listed()
    width = max(map(len, lines))
    for name, about in lines.items():
        print(f"{name:<{width}}  {about}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from innpar.stream.cli.doctor import doctor

    return doctor(options.broker, options.model)


def _scan(options: argparse.Namespace) -> int:
    import asyncio

    from innpar.devices.link.discover import survey, table

    print(table(asyncio.run(survey(options.seconds))))
    return 0


def _decode(options: argparse.Namespace) -> int:
    from innpar.devices.decode import decode
    from innpar.devices.session.strict_json import strict_json

    with options.file as file:
        lines = (line.decode("utf-8", "replace") for line in file)
        decoded = failed = False
        for record in decode(options.device, lines):
            print(strict_json(record))
            failed |= "error" in record
            decoded |= "error" not in record
    return int(failed and not decoded)


def _watch(options: argparse.Namespace) -> int:
    from innpar.stream.cli.watch import watch

    return watch(options.broker, options.topic, as_json=options.json)


def _calibrate(options: argparse.Namespace) -> int:
    from innpar.stream.cli.calibrate import calibrate

    return calibrate(
        options.reading, device=options.device, url=options.broker, topic=options.topic
    )


def _config(options: argparse.Namespace) -> int:
    from importlib.resources import files

    from innpar.stream.errors import ConfigError

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
    from innpar.stream.evaluation.train import train

    return train(
        options.data,
        options.config,
        options.out,
        resume=options.resume,
        tables=not options.no_tables,
    )


def _evaluate(options: argparse.Namespace) -> int:
    from innpar.stream.errors import ConfigError
    from innpar.stream.evaluation.evaluate import evaluate

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
    from innpar.stream.evaluation.bench import bench_model

    return bench_model(Path(options.model) if options.model else None)


def _model(options: argparse.Namespace) -> int:
    if options.action == "import":
        from innpar.models.formats.checkpoint_import import import_checkpoint

        made = import_checkpoint(
            options.source,
            options.out,
            pressures=tuple(options.abp_range or (0.0, 1.0)),
            targets=options.target or [],
        )
        if made.relative:
            print(NO_RANGE)
    else:
        from innpar.stream.errors import ConfigError

        if options.abp_range:
            raise ConfigError("--abp-range is of an import; a model's manifest has its range")
        from innpar.models.formats.export import export_again

        export_again(options.source, options.out, options.target or [])
    print(f"{options.out}: use it with: innpar-stream --model {options.out}")
    return 0


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "replay": _replay,
    "session": _session,
    "report": _report,
    "devices": _devices,
    "doctor": _doctor,
    "scan": _scan,
    "decode": _decode,
    "watch": _watch,
    "calibrate": _calibrate,
    "config": _config,
    "train": _train,
    "evaluate": _evaluate,
    "bench": _bench,
    "model": _model,
}


if __name__ == "__main__":
    sys.exit(main())
