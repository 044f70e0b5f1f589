"""Licence note of weights, derived from the licences of their training data."""

from __future__ import annotations

from collections.abc import Iterable

KNOWN = {
    "vitaldb": "VitalDB (CC BY-NC-SA 4.0)",
    "mimic3": "MIMIC-III waveforms (ODbL 1.0)",
    "bidmc": "BIDMC (ODC-By 1.0)",
}
"""Data set and licence, by the beginning of the source folder's name."""
NON_COMMERCIAL = "vitaldb"
NOTHING_CONTAINED = "No recording, nor a piece of one, is contained."


def licence_note(sources: Iterable[str]) -> str:
    """Return the licence note of weights trained on the given source folders."""
    folders = sorted(set(sources))
    of_known = [text for name, text in KNOWN.items() if any(f.startswith(name) for f in folders)]
    other = [f for f in folders if not f.startswith(tuple(KNOWN))]
    if other:
        more = f" and {len(other) - 4} more" if len(other) > 4 else ""
        of_known.append(
            f"recordings whose licence is not known here ({', '.join(other[:4])}{more})"
        )
    *first, last = of_known or ["recordings whose licence is not known here"]
    listed = f"{', '.join(first)} and {last}" if first else last
    if any(folder.startswith(NON_COMMERCIAL) for folder in folders):
        among = "among others " if first else ""
        note = f"Research and non-commercial use: trained {among}on {listed}."
    else:
        note = f"Trained on {listed}, whose terms hold."
    return f"{note} {NOTHING_CONTAINED}"
