"""Order in the source tree: names that are used once, short listings, tests where one looks."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from support.paths import ROOT

PACKAGES = ("configs", "devices", "models", "stream")
LONGEST_LISTING = 16
MIRRORED = ("devices", "models", "stream")
ELSEWHERE: dict[str, str] = {
    "models/training/test_train_errors.py": "messages of every module that training uses",
    "stream/calibration/test_wrist_height.py": "height of the wrist, from its reading to the beats",
    "stream/windows/test_stages.py": "several stages in a row",
}
"""Test files without a module of their name → their subject."""


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def test_a_class_name_is_used_once() -> None:
    homes = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_a_listing_is_read_at_a_glance() -> None:
    """Modules and sub-packages, `__init__.py` aside."""
    entries = defaultdict(set)
    for path in modules():
        entries[path.parent].add(path)
        if path.name == "__init__.py":
            entries[path.parent].discard(path)
            entries[path.parent.parent].add(path.parent)
    del entries[ROOT]
    long = {
        folder.relative_to(ROOT).as_posix(): len(found)
        for folder, found in entries.items()
        if len(found) > LONGEST_LISTING
    }
    assert long == {}


def test_a_test_lies_where_its_module_does() -> None:
    """`stream/beats/detector.py` is tested by `tests/stream/beats/test_detector.py`.

    A file may also be of a whole package: `stream/session/report/test_report.py`.
    """
    astray = set()
    for path in sorted(p for name in MIRRORED for p in (ROOT / "tests" / name).rglob("test_*.py")):
        name = path.stem.removeprefix("test_")
        place = path.parent.relative_to(ROOT / "tests")
        of_module = any((ROOT / place / f"{name}.{end}").is_file() for end in ("py", "js"))
        if not (of_module or (ROOT / place / name).is_dir() or place.name == name):
            astray.add((place / path.name).as_posix())
    assert astray <= set(ELSEWHERE)
