"""The public names: all there, all typed, none of them heavy before it is used."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys

import pytest

import innpar
from support.paths import ROOT

PACKAGES = ("innpar", "innpar.devices", "innpar.models", "innpar.stream")
HEAVY = {"torch", "numpy", "scipy", "pandas", "pydantic", "bleak", "aiomqtt", "asyncio", "rich"}
LIGHT = {
    "innpar": HEAVY,
    "innpar.stream": HEAVY,
    "innpar.devices": HEAVY - {"numpy", "asyncio"},
    "innpar.models": HEAVY,
}


def need_torch(package: str) -> None:
    """Skip the one package with names that need torch where it is not installed."""
    if package == "innpar.models":
        pytest.importorskip("torch", reason="torch is not installed: scripts/test --torch")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_there(package: str) -> None:
    need_torch(package)
    module = importlib.import_module(package)
    assert module.__all__ == sorted(set(module.__all__), key=_as_ruff)
    for name in module.__all__:
        if package == "innpar" and name == "__version__":
            continue  # only an installed package has one
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def _as_ruff(name: str) -> tuple[int, str]:
    """Order constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_what_python_sees(package: str) -> None:
    """A name that is loaded late stands in the imports for type checkers, from the same module."""
    need_torch(package)
    path = ROOT.joinpath(*package.split(".")[1:], "__init__.py")
    module = importlib.import_module(package)
    found = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for name in module.__all__:
        if name in found and name not in PACKAGES:
            home, original = found[name]
            assert getattr(module, name) is getattr(importlib.import_module(home), original)
        else:
            assert name in ("__version__", "devices", "models", "stream")


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_costs_nothing(package: str) -> None:
    code = f"import {package}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not LIGHT[package] & set(json.loads(done.stdout))


def test_every_documented_error_is_an_innpar_error() -> None:
    homes = {"devices": ("DeviceError", "NotFound", "Refused", "Lost", "BadPacket")}
    homes |= {"models": ("ModelError",), "stream": ("ConfigError", "BrokerError", "SessionError")}
    for home, names in homes.items():
        for name in names:
            assert issubclass(getattr(getattr(innpar, home), name), innpar.InnparError)
            assert name in (innpar.__doc__ or "")
