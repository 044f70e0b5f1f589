"""New files and folders are this user's only, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from innpar.stream.session.new_file import fresh, fresh_folder


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_is_readable_by_this_user_only(tmp_path: Path, umask: int) -> None:
    with fresh(tmp_path / "report.html") as file:
        file.write(b"words")
        assert mode(tmp_path / "report.html") == 0o600
    assert mode(tmp_path / "report.html") == 0o600


def test_a_folder_and_its_files_are_readable_by_this_user_only(tmp_path: Path, umask: int) -> None:
    with fresh_folder(tmp_path / "in" / "out") as folder:
        assert mode(folder) == 0o700
        (folder / "more").mkdir()
        (folder / "more" / "beats.csv").write_text("")
    assert mode(folder) == mode(folder / "more") == 0o700
    assert mode(folder / "more" / "beats.csv") == 0o600
