"""The page's benchmark runs, and a page that was hidden for a minute is right and no larger."""

from __future__ import annotations

import re

import pytest

from innpar.stream.view.bench import CROWD, bench_view
from support.browsers import need_chromium


@pytest.mark.slow
def test_the_page_is_timed_and_a_hidden_one_costs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_chromium()
    assert bench_view(1.0, 60.0) == 0
    _, heading, *loads, hidden, crowd = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == ""
    names = ["one wearer, two traces", "wall of 4", "wall of 64"]
    assert [line[:24].strip() for line in loads] == names
    assert all(int(line[24:33]) > 0 for line in loads)
    frames, page, server = re.findall(
        r"60 s: (\d+) frames, page (\S+) MB, server (\S+) MB", hidden
    )[0]
    assert int(frames) <= 2
    assert abs(float(page)) < 5
    assert abs(float(server)) < 0.1
    assert f"{CROWD} viewers" in crowd
