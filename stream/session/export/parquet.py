"""A session as Parquet files, with the same tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innpar.devices.session.reader import SessionFile
from innpar.stream.session.export.tables import TIMES, pieces

ROWS = 1 << 16
"""Rows of a table in memory, and in one row group of its file."""


def to_parquet(file: SessionFile, folder: Path) -> int:
    """Write one Parquet file per table; times are timestamps in UTC, to the nanosecond."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships none

    tables: dict[str, _ParquetTable] = {}
    try:
        for piece in pieces(file):
            name = piece.table
            while name in tables and tables[name].columns != tuple(piece.columns):
                name += "-more"  # a sensor that reconnected with other channels
            if name not in tables:
                tables[name] = _ParquetTable(pa, folder / f"{name}.parquet", piece.kinds)
            tables[name].add(piece.columns)
    finally:
        for table in tables.values():
            table.close()
    return len(tables)


class _ParquetTable:
    """Writer of one Parquet file, row group by row group."""

    def __init__(self, pa: Any, path: Path, kinds: Mapping[str, type]) -> None:
        from pyarrow import parquet

        types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
        self._pa = pa
        self._schema = pa.schema(
            [
                (name, pa.timestamp("ns", tz="UTC") if name in TIMES else types[kind])
                for name, kind in kinds.items()
            ]
        )
        self.columns = tuple(kinds)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._held: dict[str, list[Any]] = {name: [] for name in kinds}

    def add(self, columns: Mapping[str, list[Any]]) -> None:
        for name, values in columns.items():
            self._held[name] += values
        if len(self._held[self.columns[0]]) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._pa.table(self._held, schema=self._schema))
        for values in self._held.values():
            values.clear()

    def close(self) -> None:
        if self._held[self.columns[0]]:
            self._flush()
        self._writer.close()
