"""The figures of an evaluation as tables and lines of text."""

from __future__ import annotations

from typing import Any

from innpar.stream.evaluation.score import PRESSURES


def show(title: str, groups: dict[str, Any]) -> None:
    """Print the figures of `score` as tables.

    Args:
        title: Heading.
        groups: Figures by group.
    """
    from rich.console import Console

    console = Console(width=110, soft_wrap=True)
    console.print(title, style="bold")
    for name, group in groups.items():
        console.print(
            f"\n{name}: {group['subjects']} subjects, {group['records']} records, "
            f"{group['hours']} h, {group['beats']} beats, {group['rejected']:.1%} rejected"
        )
        console.print(errors_table(group))
        for line in notes(group):
            console.print(line)


def errors_table(group: dict[str, Any]) -> Any:
    """Return the table of ME ± SD and MAE of one group."""
    from rich.table import Table

    table = Table(expand=False)
    for heading in ("mmHg", *(f"{p.upper()} {w}" for p in PRESSURES for w in ("ME ± SD", "MAE"))):
        table.add_column(heading, no_wrap=True)
    for unit in ("per_beat", "per_30_s"):
        for name in ("model", "held", "kriging", "population"):
            if name in group[unit]:
                cells = []
                for pressure in PRESSURES:
                    row = group[unit][name][pressure]
                    cells += [f"{row['me']:+.1f} ± {row['sd']:.1f}", f"{row['mae']:.2f}"]
                table.add_row(f"{name}, {unit.replace('_', ' ')}", *cells)
    return table


def notes(group: dict[str, Any]) -> list[str]:
    """Return the figures that are not in the table of errors, one per line."""
    lines = []
    for base, gains in group["below"].items():
        each = (_share(p, gains[p]) for p in PRESSURES)
        lines.append(f"below {base}: " + ", ".join(each))
    by_subject = (
        f"{name} " + "/".join(f"{mae[p]:.1f}" for p in PRESSURES)
        for name, mae in group["by_subject"].items()
    )
    lines.append("MAE, subjects weighing alike: " + ", ".join(by_subject))
    lines.append(f"heart rate MAE {group['heart_rate']['mae']} a minute")
    for pressure in PRESSURES:
        s = group["standards"][pressure]
        within = "/".join(f"{v:.0f}" for v in s["within_5_10_15"])
        met = "met" if s["aami_numbers_met"] else "not met"
        lines.append(
            f"{pressure.upper()}: AAMI numbers {met} ({s['aami_subjects']} subjects), IEEE 1708 "
            f"{s['ieee_1708']}, BHS {s['bhs']} ({within} % within 5/10/15)"
        )
    if group["waveform"]:
        lines.append("waveform: " + ", ".join(f"{k} {v}" for k, v in group["waveform"].items()))
    for row in group.get("by_minutes_since_cuff", []):
        span = f"{row['from']:g}–{row['to']:g} min" if row["to"] else f"over {row['from']:g} min"
        both = (" / ".join(f"{v:.1f}" for v in row["mae"][n]) for n in ("model", "held"))
        lines.append(f"{span} since the cuff: " + " against held ".join(both))
    lines += [_reading(row) for row in group.get("by_reading", [])]
    for pressure in PRESSURES if "intervals" in group else ():
        i = group["intervals"][pressure]
        low, high = i["bootstrap_95"]
        text = (
            f"{pressure.upper()} {100 * group['intervals']['level']:g} % interval: covers "
            f"{i['coverage']:.1%} ({low:.0%}–{high:.0%}), by subject "
            f"{' '.join(f'{v:.0%}' for v in sorted(i['by_subject'].values()))}, "
            f"{i['mean_width']:.1f} mmHg wide"
        )
        if "narrower_by" in i:
            text += f", held {i['held_width_of_equal_coverage']:.1f} ({i['narrower_by']:+.0%})"
        lines.append(text)
    return lines


def _share(pressure: str, gain: dict[str, Any]) -> str:
    low, high = gain["bootstrap_95"]
    return f"{pressure.upper()} {gain['value']:+.0%} ({low:+.0%} to {high:+.0%})"


def _reading(row: dict[str, Any]) -> str:
    """Return the line of one row of ``by_reading``."""
    first, last = row["from"], row["to"]
    which = f"{first}" if first == last else f"{first}–{last}" if last else f"{first} and later"
    pairs = zip(row["mae"]["model"], row["mae"]["held"], strict=True)
    gains = "/".join(f"{1 - own / held:+.0%}" if held else "–" for own, held in pairs)
    return f"after reading {which}: {gains} below held"


def comparison(found: dict[str, Any], former: str) -> list[str]:
    """Return the lines that compare a model with a former one; see `subjects.compared`."""
    if not found:
        return [f"no beat in common with {former}"]
    lines = []
    for name, title in (("model", "this model"), ("former", former)):
        gains = (f"{p.upper()} {found['below_held'][name][p]:+.0%}" for p in PRESSURES)
        lines.append(f"{title}: {', '.join(gains)} below held")
    parts = []
    for pressure in PRESSURES:
        value = found["difference_mmhg"][pressure]
        low, high = value["bootstrap_95"]
        parts.append(f"{pressure.upper()} {value['value']:+.2f} ({low:+.2f} to {high:+.2f})")
    lines.append(
        f"MAE of this model minus that of {former}, mmHg, {found['subjects']} subjects: "
        + ", ".join(parts)
    )
    return lines
