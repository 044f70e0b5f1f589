"""Wheel and source archive: complete, small, and licensed as they say."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("configs", "devices", "models", "stream")
WITH_THE_SOURCE = ("docs", "examples", "scripts", "tests", *PACKAGES)
BUILD = "import sys; from setuptools import build_meta as b; print(b.build_{}(sys.argv[1]))"
AT_THE_ROOT = {".cff", ".in", ".md", ".py", ".toml", ".yml", "LICENSE", "py.typed"}
"""Suffixes and names of the files beside the folders."""
NOT_IN_THE_WHEEL = {
    "models/network/kernel.cpp",
    "models/weights/training.csv",
    "models/weights/training.png",
}
"""The kernel's source, which is compiled, and the training log: nothing reads them at run time."""
LIMIT = 4_000_000
"""Bytes of a wheel."""


def files_below(root: Path, folders: tuple[str, ...]) -> set[str]:
    """Return the files in these folders, relative to `root`, caches aside."""
    return {
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
        and not any(p.startswith(("__pycache__", ".")) for p in path.relative_to(root).parts)
    }


def build(kind: str, source: Path, out: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "absent from the `packages`" not in done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Build both archives from a copy of the sources; return copy, source archive and wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for folder in WITH_THE_SOURCE:
        if (ROOT / folder).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*", "*.so")
            shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for path in ROOT.iterdir():
        if path.suffix in AT_THE_ROOT or path.name in AT_THE_ROOT:
            shutil.copy2(path, source)
    sdist, wheel = (build(kind, source, out) for kind in ("sdist", "wheel"))
    return source, sdist, wheel


@pytest.fixture
def wheel(archives: tuple[Path, Path, Path]) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(archives[2]) as opened:
        yield opened


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_holds_every_file_of_the_packages(
    archives: tuple[Path, Path, Path], wheel: zipfile.ZipFile
) -> None:
    below = files_below(archives[0], PACKAGES)
    root = ("__init__.py", "__main__.py", "errors.py", "py.typed", "state.py")
    below |= {name for name in root if (archives[0] / name).is_file()}
    inside = {n for n in wheel.namelist() if ".dist-info/" not in n}
    built = {n for n in inside if n.startswith("innpar/models/network/_kernel.")}
    assert len(built) == (shutil.which("g++") is not None)
    assert inside - built == {f"innpar/{name}" for name in below - NOT_IN_THE_WHEEL}
    assert below >= NOT_IN_THE_WHEEL


def test_the_source_archive_holds_tests_scripts_and_docs(
    archives: tuple[Path, Path, Path],
) -> None:
    with tarfile.open(archives[1]) as opened:
        inside = {m.name.partition("/")[2] for m in opened.getmembers() if m.isfile()}
    wanted = files_below(archives[0], WITH_THE_SOURCE)
    wanted |= {p.name for p in archives[0].iterdir() if p.is_file()}
    assert wanted <= inside
    generated = {n for n in inside - wanted if not n.startswith("innpar_stream.egg-info/")}
    assert generated == {"PKG-INFO", "setup.cfg"}


def test_the_wheel_is_small(archives: tuple[Path, Path, Path]) -> None:
    assert archives[2].stat().st_size <= LIMIT


def test_the_licence_covers_code_and_weights(wheel: zipfile.ZipFile) -> None:
    info = metadata(wheel)
    assert info["License-Expression"] == "MIT AND CC-BY-NC-SA-4.0"
    for name in info.get_all("License-File", []):
        (inside,) = (n for n in wheel.namelist() if n.endswith(f".dist-info/licenses/{name}"))
        assert wheel.read(inside) == (ROOT / name).read_bytes()
    assert set(info.get_all("License-File", [])) == {"LICENSE", "models/weights/LICENSE.md"}
    assert "CC-BY-NC-SA-4.0" in (ROOT / "models/weights/LICENSE.md").read_text(encoding="utf-8")


def test_every_package_is_typed(wheel: zipfile.ZipFile) -> None:
    """PEP 561: a marker in a package holds for the packages below it."""
    names = set(wheel.namelist())
    packages = [Path(n).parent for n in names if n.endswith("/__init__.py")]
    bare = [p for p in packages if not any(f"{a}/py.typed" in names for a in (p, *p.parents))]
    assert bare == []


def test_the_changelog_has_a_dated_section_for_this_version() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    sections = [line for line in lines if line.startswith("## [")]
    assert sections[0].startswith(f"## [{PROJECT['version']}] - 20")
