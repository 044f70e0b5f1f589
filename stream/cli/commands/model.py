"""``innpar-stream model``: import, export or add a model, or fit its calibration again."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
actions:
  import   convert a checkpoint of the original INN-PAR code to a model
  export   write a model again, for other runtimes too (--target)
  add      check a model from elsewhere; --trust-model lets its compiled files run
  level    fit the level without a cuff reading again (--data), weights unchanged
  process  fit how all cuff readings of a wearer count (--data), weights unchanged; takes hours

examples:
  innpar-stream model import checkpoint.pth my-model --abp-range 20 220
  innpar-stream model export my-model compiled --target aot
  innpar-stream model add downloaded
  innpar-stream model level my-model refitted --data recordings
  innpar-stream model process my-model refitted --data recordings
"""

REFITS = ("level", "process")
"""Actions that fit part of the calibration to recordings."""
_AS_IN = ", as in `innpar-stream model export my-model compiled`"

NO_RANGE = """\
the outputs of this model have no unit: a checkpoint does not contain its pressure range
a cuff reading scales them; there are no pressures before one: innpar-stream calibrate 128/79
if you know the range used in training, import again with --abp-range MIN MAX"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=["import", "export", "add", *REFITS],
        help="import | export | add | level | process",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="CHECKPOINT.pth to import; manifest or model folder to export, add or refit",
    )
    parser.add_argument(
        "out", type=Path, nargs="?", metavar="FOLDER", help="folder for model and manifest"
    )
    parser.add_argument(
        "--target",
        action="append",
        choices=["aot", "onnx"],
        help="runtime to write besides TorchScript; aot: compiled for this type of processor",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="level, process: folder with recordings"
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="process: train N of the 4 networks, each without a quarter of the people (4)",
    )
    parser.add_argument(
        "--abp-range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="import: pressures in mmHg of outputs 0 and 1; without it there are no pressures "
        "before a cuff reading",
    )
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="add: let its .pt and .pt2 files run, which can execute any code",
    )


def run(options: argparse.Namespace) -> int:
    """Import, export, add or refit.

    Raises:
        ConfigError: An option of another action, or a folder is missing.
    """
    from innpar.stream.errors import ConfigError

    if (options.action in REFITS) != (options.data is not None):
        raise ConfigError(
            "--data: needed for level and process, and only there; see innpar-stream model -h"
        )
    if options.folds is not None and options.action != "process":
        raise ConfigError("--folds: only for `model process`; leave it out")
    if options.action == "add":
        return _add(options)
    if options.out is None:
        raise ConfigError(f"model {options.action}: name the folder to write too{_AS_IN}")
    if options.trust_model:
        raise ConfigError("--trust-model: only for `model add`; leave it out")
    if options.action == "import":
        _import(options)
    elif options.action == "level":
        from innpar.stream.evaluation.level import refit_level

        refit_level(options.source, options.out, options.data)
    elif options.action == "process":
        from innpar.stream.evaluation.process import refit_process

        refit_process(options.source, options.out, options.data, folds=options.folds or 4)
    else:
        if options.abp_range:
            raise ConfigError(
                "--abp-range: only for imports, a manifest has its range; leave it out"
            )
        from innpar.models.formats.export import export_again

        export_again(options.source, options.out, options.target or [])
    print(f"{options.out}: use it with: innpar-stream --model {options.out}")
    return 0


def _import(options: argparse.Namespace) -> None:
    from innpar.models.formats.checkpoint_import import import_checkpoint

    made = import_checkpoint(
        options.source,
        options.out,
        pressures=tuple(options.abp_range or (0.0, 1.0)),
        targets=options.target or [],
    )
    if made.relative:
        print(NO_RANGE)


def _add(options: argparse.Namespace) -> int:
    """Check a model from elsewhere and record its files as trusted if the user says so."""
    from innpar.models.formats.trust import code_files, trust
    from innpar.models.formats.weights_file import open_model, read_weights
    from innpar.stream.errors import ConfigError

    if options.out is not None or options.target or options.abp_range:
        raise ConfigError("model add takes one model and --trust-model only")
    folder, manifest = open_model(options.source)
    read_weights(folder, manifest)
    files = ", ".join(code_files(manifest))
    if options.trust_model:
        trust(folder, manifest)
        print(f"trusted as they are now, by their SHA-256: {files or 'none, no file runs code'}")
    elif files:
        print(f"not trusted to run code, hence not used: {files}")
    print(f"{manifest.id}: use it with: innpar-stream --model {options.source}")
    return 0
