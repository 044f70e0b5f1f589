"""Find the packages: this folder is `innpar`; what has an `__init__.py` below these four ships."""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = ("configs", "devices", "models", "stream")

found = find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)])
root = ["innpar"] if Path("__init__.py").is_file() else []
setup(
    script_name=Path(__file__).name,  # so that it is not taken for a module of `innpar`
    packages=[*root, *(f"innpar.{name}" for name in found)],
)
