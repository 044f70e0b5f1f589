"""Beats of known rhythms and of real recordings, beside NeuroKit2: beats [SECONDS] [RECORDS] […]

Prints sensitivity, positive predictivity and the mean absolute error of the rate of each kind of
rhythm, for the beat finder and for detectors of NeuroKit2 in the same run (default: 90 s each, 8
records of ../shared/data against their pressure's beats, `elgendi` and `charlton`, which is
MSPTDfast v2; others: `charlton2024`, v1, and `bishop`). The kinds called ``drawn`` come from
another pulse model at random rates and were never used to set a threshold; ``drawn`` pools them.
Fails where the finder is pooled below a detector, or over two points below it on one rhythm.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from support.conditioned import found_upstrokes, matched
from support.drawn_rhythms import drawn
from support.paths import SHARED
from support.rhythms import RATE, Rhythm, rhythms

Floats = npt.NDArray[np.float64]
SHORT = ("30", "0")
OURS = "ours"
METHODS = ("elgendi", "charlton")
MARGIN = 0.02
"""Largest deficit on one rhythm, of sensitivity and of predictivity."""


def neurokit(method: str) -> Callable[[Floats, float], Floats]:
    """Return a detector of NeuroKit2."""
    import neurokit2

    def find(light: Floats, rate: float) -> Floats:
        hz = round(rate)  # `charlton` takes whole numbers only
        clean = neurokit2.ppg_clean(light, sampling_rate=hz, method="elgendi")
        info = neurokit2.ppg_findpeaks(clean, sampling_rate=hz, method=method)
        return np.asarray(info["PPG_Peaks"], dtype=np.float64) / rate

    return find


def real(count: int) -> Iterator[tuple[Rhythm, float]]:
    """Yield the light of records with the beats of their pressure, and the rate, Hz."""
    from innpar.models.data.index import of_split, read_index
    from innpar.stream.evaluation.dataset import recordings

    folder = SHARED / "data" / "abp"
    if not folder.is_dir():
        print("the real recordings (../shared/data) are not on this machine")
        return
    entries = of_split(read_index(folder), "val")
    for record in recordings(folder, entries[:: max(1, len(entries) // count)][:count], 125.0):
        finite = np.isfinite(record.ppg)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], finite.astype(int), [0]))))
        first, end = max(edges.reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
        end = min(end, first + 600 * 125)
        beats = record.beats.peak[(record.beats.peak >= first) & (record.beats.peak < end)]
        if len(beats) < 30:
            continue
        name = record.entry.file
        yield Rhythm("real", name, record.ppg[first:end], (beats - first) / 125.0), 125.0


def main(arguments: list[str]) -> int:
    """Run the benchmark; return 1 where the finder falls behind."""
    seconds = float(arguments[0]) if arguments else 90.0
    count = int(arguments[1]) if len(arguments) > 1 else 8
    detectors = {OURS: found_upstrokes}
    detectors |= {name: neurokit(name) for name in arguments[2:] or METHODS}
    signals = [(rhythm, RATE) for rhythm in [*rhythms(seconds), *drawn(seconds)]]
    if count:
        signals += list(real(count))
    totals: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0] * 5))
    for rhythm, rate in signals:
        for name, find in detectors.items():
            found, last = find(rhythm.light, rate), len(rhythm.light) / rate - 3.0
            hits, true, all_found, errors = matched(found, rhythm.beats, 4.5, last)
            figures = (hits, true, all_found, float(np.abs(errors).sum()), len(errors))
            pools = ("drawn", "pooled") if rhythm.kind.startswith("drawn") else ("pooled",)
            for kind in (rhythm.kind, *pools):
                own = totals[kind][name]
                own[:] = [a + b for a, b in zip(own, figures, strict=True)]
    return report(totals)


def report(totals: dict[str, dict[str, list[float]]]) -> int:
    """Print a row a kind; return 1 where the finder falls behind."""
    print(f"{'':16}" + "".join(f"{name:>26}" for name in totals["pooled"]))
    print(f"{'':16}" + "".join(f"{'sens':>9} {'ppv':>7} {'bpm':>8}" for _ in totals["pooled"]))
    behind = []
    for kind, row in totals.items():
        cells = {
            name: (h / max(t, 1), h / max(f, 1), e / max(n, 1))
            for name, (h, t, f, e, n) in row.items()
        }
        print(f"{kind:16}" + "".join(f"{s:9.1%} {p:7.1%} {e:8.2f}" for s, p, e in cells.values()))
        ours = cells.pop(OURS)
        margin = 0.0 if kind in ("pooled", "drawn") else MARGIN
        for name, other in cells.items():
            if ours[0] < other[0] - margin or ours[1] < other[1] - margin:
                behind.append(f"{kind}: behind {name}")
    print("\n".join(behind), file=sys.stderr)
    return 1 if behind else 0
