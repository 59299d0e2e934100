"""How numbers are written: the same digits in the app and in the deck, in both languages."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date

from core.locale import _, spoken
from core.records import stretches
from core.sources import Text, derived, shown
from core.tables import RunSummaryRow


def number(value: float | None) -> str:
    """Three significant digits, as many as the errors allow; a dash for no value."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return shown(value, ".0f")
    if abs(value) < 1e-4:
        return shown(value, ".2e")
    power = math.floor(math.log10(abs(float(shown(value, ".2e")))))  # of the value after rounding: 9.996 is 10.0
    return shown(value, f".{max(0, 2 - power)}f")


def rounded(value: float | None) -> str:
    """A number for a headline: no digits after the point from 10 on."""
    return number(value) if value is None or abs(value) < 9.5 else shown(value, ".0f")


def percent(share: float, lower: float | None = None, upper: float | None = None) -> str:
    """A signed difference with its 95 percent interval: `+12 % [+4, +20]`."""
    text = shown(100 * share, "+.0f") + ("%" if spoken() == "ja" else " %")
    if lower is None or upper is None:
        return text
    return Text("{text} [{lower:+.0f}, {upper:+.0f}]").format(text=text, lower=100 * lower, upper=100 * upper)


def share_text(share: float, digits: int = 0) -> str:
    """A share in percent: `40 %`, `0.4 %`; with one digit `40.3 %`, `0.43 %`."""
    percent = 100 * share
    is_small = 0.001 <= abs(percent) < 1  # less is none: nobody reads 1e-05 %
    return _("{n} %").format(n=shown(percent, f".{1 + digits}g" if is_small else f".{digits}f"))


def with_interval(value: float | None, lower: float | None, upper: float | None) -> str:
    """A value with its 95 percent interval: `106 [99, 113]`; without brackets if the error is not known."""
    if value is None or lower is None or upper is None:
        return number(value)
    return Text("{} {}").format(number(value), bracket(lower, upper))


def bracket(lower: float, upper: float) -> str:
    """`[99, 113]`: with equal digits after the point, unless an end would be left without a digit."""
    ends = (number(lower), number(upper))
    decimals = min(len(end.partition(".")[2]) for end in ends)
    if 1e-4 <= 10.0**-decimals <= 2 * min(abs(lower), abs(upper)) < math.inf:
        ends = (shown(lower, f".{decimals}f"), shown(upper, f".{decimals}f"))
    return Text("[{}, {}]").format(*ends)


def interval_of(row: RunSummaryRow, column: str, absent: str = "–") -> str:
    """A column of a summary with its 95 percent interval, or `absent` if there is no value."""
    value, *ends = (getattr(row, column + end) for end in ("", "_lower", "_upper"))
    return absent if value is None else with_interval(value, *ends)


def size_range(n_points: tuple[int, int]) -> str:
    """A number of points: `800`, or `780–800` if the clouds differ in size."""
    smallest, largest = (derived(n, "runs", "n_points") for n in n_points)
    return shown(largest, ",") if smallest == largest else Text("{:,}–{:,}").format(smallest, largest)


def ranges(numbers: Collection[int]) -> list[str]:
    """Layers or blocks as `1`, `3–19`."""
    ends = ((first, after - 1) for first, after in stretches(numbers))
    return [Text("{}–{}").format(first, last) if last > first else shown(first) for first, last in ends]


def day(when: date) -> str:
    """A day: `26 November 2026`, `2026年11月26日`; for a datetime, its day."""
    return f"{when.year}年{when.month}月{when.day}日" if spoken() == "ja" else f"{when.day} {when:%B %Y}"


def amount(n_bytes: int | None) -> str:
    """A size in memory: `1.23 GB`, `45 MB`, `3 kB`."""
    if n_bytes is None:
        return _("unknown")
    if n_bytes >= 1e9:
        return Text("{:.2f} GB").format(n_bytes / 1e9)
    if n_bytes < 5e5:
        return Text("{:,.0f} kB").format(n_bytes / 1e3)
    return Text("{:,.0f} MB").format(n_bytes / 1e6)


def duration(seconds: float | None) -> str:
    """A time: `40 s`, `5 min`, `2.5 h`, with no more digits than an estimate justifies."""
    if seconds is None:
        return _("unknown")
    if seconds < 90:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{n} h").format(n=shown(seconds / 3600, ".1f"))
