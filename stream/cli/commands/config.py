"""``innpar-stream config``: write a commented configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream config init lab.toml
  innpar-stream --config lab.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", metavar="init", choices=["init"], help="write a new file")
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        default=Path("innpar.toml"),
        help="file to write (innpar.toml)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the default configuration.

    Raises:
        ConfigError: The file exists or cannot be written.
    """
    from importlib.resources import files

    from innpar.stream.errors import ConfigError

    text = files("innpar.configs").joinpath("default.toml").read_text(encoding="utf-8")
    try:
        with options.file.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{options.file}: already exists; choose another name") from None
    except OSError as error:
        raise ConfigError(
            f"{options.file}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    print(f"{options.file} written; use it with: innpar-stream --config {options.file}")
    return 0
