"""scripts/locked.txt has every dependency, in a version that pyproject.toml takes, with hashes."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT

LOCKED = (ROOT / "scripts/locked.txt").read_text(encoding="utf-8")
ENTRIES = re.findall(
    r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCKED, re.M
)
NOT_LOCKED = {"torch", "innpar-stream"}
"""PyTorch, whose build depends on the computer, and extras that name other extras."""


def test_nothing_stands_in_the_file_but_versions_with_hashes() -> None:
    names = [canonicalize_name(name) for name, _, _ in ENTRIES]
    assert len(names) == len(set(names)) > 100
    rest = [line for line in LOCKED.splitlines() if not line.startswith(("#", "    --hash="))]
    assert len(rest) == len(names)


def test_every_dependency_is_locked_in_a_version_that_is_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (text for found in project["optional-dependencies"].values() for text in found)
    versions = {canonicalize_name(name): version for name, version, _ in ENTRIES}
    for requirement in map(Requirement, (*project["dependencies"], *extras)):
        name = canonicalize_name(requirement.name)
        if name not in NOT_LOCKED:
            assert name in versions, f"{name}: run scripts/lock"
            assert requirement.specifier.contains(versions[name]), f"{name}: run scripts/lock"
