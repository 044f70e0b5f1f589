"""Find the packages (this folder is `innpar`); build the kernel where there is a compiler."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

FOLDERS = ("configs", "devices", "models", "stream")

found = find_packages(include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)])
root = ["innpar"] if Path("__init__.py").is_file() else []
kernel = Extension(
    "innpar.models.network._kernel",
    ["models/network/kernel.cpp"],
    extra_compile_args=["-O3", "-std=c++17", "-ffp-contract=fast", "-fvisibility=hidden"],
    optional=True,  # without a compiler numpy runs the network
)
setup(
    script_name=Path(__file__).name,  # so that it is not taken for a module of `innpar`
    ext_modules=[kernel],
    packages=[*root, *(f"innpar.{name}" for name in found)],
)
