"""``innpar-stream model``: import a checkpoint, export to other runtimes, refit the level."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
actions:
  import   convert a checkpoint of the original INN-PAR code to a model
  export   write a model again, for other runtimes too (--target)
  level    fit the level without a cuff reading again (--data), weights unchanged

examples:
  innpar-stream model import checkpoint.pth my-model --abp-range 20 220
  innpar-stream model export my-model compiled --target aot
  innpar-stream model level my-model refitted --data recordings
"""

NO_RANGE = """\
the outputs of this model have no unit: a checkpoint does not contain its pressure range
a cuff reading scales them; there are no pressures before one: innpar-stream calibrate 128/79
if you know the range used in training, import again with --abp-range MIN MAX"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "action",
        metavar="ACTION",
        choices=["import", "export", "level"],
        help="import | export | level",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="CHECKPOINT.pth to import; manifest or model folder to export or refit",
    )
    parser.add_argument("out", type=Path, metavar="FOLDER", help="folder for model and manifest")
    parser.add_argument(
        "--target",
        action="append",
        choices=["aot", "onnx"],
        help="runtime to write besides TorchScript; aot: compiled for this type of processor",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="level: folder with recordings and cuff sets"
    )
    parser.add_argument(
        "--abp-range",
        nargs=2,
        type=float,
        metavar=("MIN", "MAX"),
        help="import: pressures in mmHg of outputs 0 and 1; without it there are no pressures "
        "before a cuff reading",
    )


def run(options: argparse.Namespace) -> int:
    """Import, export or refit.

    Raises:
        ConfigError: An argument of another action.
    """
    from innpar.stream.errors import ConfigError

    if (options.action == "level") != (options.data is not None):
        raise ConfigError("--data: needed for level, and only there; see innpar-stream model -h")
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
    elif options.action == "level":
        from innpar.stream.evaluation.level import refit_level

        refit_level(options.source, options.out, options.data)
    else:
        if options.abp_range:
            raise ConfigError(
                "--abp-range: only for imports, a manifest has its range; leave it out"
            )
        from innpar.models.formats.export import export_again

        export_again(options.source, options.out, options.target or [])
    print(f"{options.out}: use it with: innpar-stream --model {options.out}")
    return 0
