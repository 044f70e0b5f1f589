"""Windows do not depend on the cut, and none spans a gap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.stream.windows.resample import GridSamples
from innpar.stream.windows.window import Windower
from support.windows import GUARD, SPAN, WINDOW


@given(cuts=st.lists(st.integers(0, 3000), max_size=20), hop=st.sampled_from([64, 128, 124]))
def test_windows_do_not_depend_on_the_cut(cuts: list[int], hop: int) -> None:
    data = np.arange(3000.0)[:, None]
    bounds = [0, *sorted(cuts), 3000]
    windower = Windower(WINDOW, GUARD, hop)
    windows = [
        window
        for a, b in itertools.pairwise(bounds)
        for window in windower.push(GridSamples(0, 7 + a, data[a:b], 0))
    ]
    assert len(windows) == (3000 - SPAN) // hop + 1
    for k, window in enumerate(windows):
        assert window.index == 7 + k * hop + GUARD
        np.testing.assert_array_equal(window.raw, data[k * hop : k * hop + SPAN])


def test_no_window_spans_two_segments() -> None:
    windower = Windower(WINDOW, GUARD, 128)
    assert not windower.push(GridSamples(0, 0, np.zeros((SPAN - 1, 1)), 0))
    assert not windower.push(GridSamples(1, 9000, np.ones((SPAN - 1, 1)), 0))
    (window,) = windower.push(GridSamples(1, 9000 + SPAN - 1, np.ones((1, 1)), 0))
    assert window.index == 9000 + GUARD
    assert (window.raw == 1).all()


@pytest.mark.parametrize("hop", [0, 2, 125, 644])
def test_an_impossible_hop_is_refused(hop: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Windower(WINDOW, GUARD, hop)
