"""The long forms of the tests, one file each.

    scripts/soak                     list the names
    scripts/soak NAME --help         show the arguments
    scripts/soak NAME [ARGUMENT …]   run one
    scripts/soak NAME --short        run the form of at most a minute that the tests run

Each file has a `main`, which takes the arguments and returns the exit status, and `SHORT`, the
arguments of the short form.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1] / "tests"
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "__main__")


def load(name: str) -> ModuleType:
    """Return the module of a long form."""
    # Not by its place on the path: `polars` is also the name of a library.
    spec = importlib.util.spec_from_file_location(f"soak_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    """Run a long form, or list them; return the exit status."""
    if not arguments:
        for name in NAMES:
            print(f"{name:<10}  {(load(name).__doc__ or '').splitlines()[0]}")
        return 0
    name, *rest = arguments
    if name not in NAMES:
        print(f"soak: no {name!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    soak = load(name)
    if rest == ["--help"]:
        print(soak.__doc__)
        return 0
    status: int = soak.main(list(soak.SHORT) if rest == ["--short"] else rest)
    return status


if __name__ == "__main__":
    sys.path[0] = str(TESTS)  # for `support`, in place of this folder
    sys.exit(main(sys.argv[1:]))
