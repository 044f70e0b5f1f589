"""Files of named arrays: NumPy, MATLAB, HDF5, Parquet, Feather, JSON lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import BadPacket, Refused
from innpar.devices.files.containers.arrays import open_arrays, record_number
from innpar.devices.files.packed import opened, unpacked
from innpar.devices.files.recording import Recording

_DEPTH = 6
"""Deepest nesting that is searched for arrays."""
FHIR, FHIR_WITHIN = b'"resourceType"', 1000
"""Field of every FHIR resource, and the bytes within which it is looked for."""


def open_npy(path: Path, options: dict[str, str]) -> Recording:
    """Open a ``.npy`` file; arguments as for `open_arrays`."""
    try:
        with opened(path) as stream:
            array = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Refused(f"{path}: a damaged .npy file ({error}); copy it again") from None
    return open_arrays(path, "NumPy", {"signal": array}, options)


def open_mat(path: Path, options: dict[str, str]) -> Recording:
    """Open a MATLAB file of version 5; arguments as for `open_arrays`."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise Refused(f"{path}: .mat needs scipy; run scripts/setup import") from None
    with unpacked(path) as plain:
        try:
            content = loadmat(str(plain), simplify_cells=True)
        except Exception as error:  # whatever scipy raises, the file is at fault
            raise Refused(f"{path}: a damaged .mat file ({error}); save it again") from None
    found: dict[str, Any] = {}
    named = {key: value for key, value in content.items() if not key.startswith("__")}
    _flatten(named, "", record_number(path, options), found)
    return open_arrays(path, "MATLAB", found, options)


def open_hdf5(path: Path, options: dict[str, str]) -> Recording:
    """Open an HDF5 file, or a MATLAB file of version 7.3; arguments as for `open_arrays`."""
    try:
        import h5py  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise Refused(f"{path}: HDF5 needs h5py; run scripts/setup import") from None
    found: dict[str, Any] = {}
    number = record_number(path, options)
    with unpacked(path) as plain:
        try:
            with h5py.File(plain, "r") as file:
                visible = {key: file[key] for key in file if not key.startswith("#")}
                for key, item in visible.items():
                    _visit(h5py, file, item, key, number, found)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise Refused(f"{path}: a damaged HDF5 file ({error}); copy it again") from None
    return open_arrays(path, "HDF5", found, options)


def _visit(h5py: Any, file: Any, item: Any, name: str, number: int, found: dict[str, Any]) -> None:
    """Collect the arrays below an HDF5 item; of a cell array, one cell."""
    if isinstance(item, h5py.Group):
        for key in item:
            _visit(h5py, file, item[key], key, number, found)
        for key, value in item.attrs.items():
            found.setdefault(key, value)
    elif h5py.check_ref_dtype(item.dtype) is not None:
        cells = np.asarray(item).ravel()
        if number < len(cells):
            _visit(h5py, file, file[cells[number]], name, number, found)
    elif item.dtype.kind in "iuf" and name not in found:
        found[name] = np.asarray(item)
        for key, value in item.attrs.items():
            found.setdefault(key, value)


def _flatten(value: Any, name: str, number: int, found: dict[str, Any], depth: int = 0) -> None:
    """Collect the arrays below a MATLAB value; of a cell or struct array, one element."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, str(key), number, found, depth + 1)
    elif isinstance(value, (list, np.ndarray)) and np.asarray(value).dtype == object:
        cells = np.asarray(value).ravel()
        if number < len(cells):
            _flatten(cells[number], name, number, found, depth + 1)
    elif name not in found:
        found[name] = value


def open_arrow(path: Path, options: dict[str, str]) -> Recording:
    """Open a Parquet or Feather file; arguments as for `open_arrays`."""
    try:
        from pyarrow import feather, parquet  # type: ignore[import-untyped]  # it ships none
    except ImportError:
        raise Refused(f"{path}: Parquet needs pyarrow; run scripts/setup import") from None
    with unpacked(path) as plain:
        try:
            is_parquet = plain.read_bytes()[:4] == b"PAR1"
            table = (parquet if is_parquet else feather).read_table(str(plain))
            arrays = {
                name: table[name].to_numpy()
                for name in table.column_names
                if str(table.schema.field(name).type) not in ("string", "large_string", "bool")
            }
            has_source = "source" in table.column_names
            sources = table["source"].unique().to_pylist() if has_source else []
        except Exception as error:  # whatever pyarrow raises, the file is at fault
            raise Refused(f"{path}: a damaged file ({error}); copy it again") from None
    origin = "simulated" if "simulated" in sources else "live"
    name = "Parquet" if is_parquet else "Feather"
    return open_arrays(path, name, arrays, options, origin=origin)


def open_json_lines(path: Path, options: dict[str, str]) -> Recording:
    """Open a file of one JSON object a line; arguments as for `open_arrays`.

    Raises:
        Refused: Also if a line is not an object.
    """
    columns: dict[str, list[float]] = {}
    rows, origin = 0, "live"
    with opened(path) as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                if rows == 0 and FHIR in stream.read(FHIR_WITHIN):
                    raise Refused(
                        f"{path}: a FHIR bundle, without samples of light; play the session itself"
                    ) from None
                raise Refused(
                    f"{path}: line {rows + 1} is not a JSON object; one object a line is played"
                ) from None
            if not isinstance(row, dict):
                raise BadPacket(f"{path}: line {rows + 1} is no object; one a line is played")
            origin = "simulated" if row.get("source") == "simulated" else origin
            for key, value in row.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    column = columns.setdefault(str(key), [])
                    column += [float("nan")] * (rows - len(column)) + [float(value)]
            rows += 1
    arrays = {k: np.array(v + [np.nan] * (rows - len(v))) for k, v in columns.items()}
    return open_arrays(path, "JSON lines", arrays, options, origin=origin)
