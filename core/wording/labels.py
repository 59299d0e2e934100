"""Translated names for everything that a measurement yields, short labels that tell the runs of a picture apart, and numbers,
written with the same digits in the app and in the deck.

Names come from core.registry; a key without a name is shown as it is.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date
from functools import reduce
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import polars as pl

from core.locale import _, spoken, translated
from core.records import stretches
from core.registry.checks import CHECKS
from core.registry.estimators import ESTIMATORS
from core.registry.names import NAMES
from core.registry.protocols import PASSES
from core.sources import Text, counted, derived, shown
from core.tables import Run, RunSummaryRow, records

K = TypeVar("K")
V = TypeVar("V")


def name(kind: str, key: str) -> str:
    """The name of `key` among things of its `kind`: estimator, cloud, transform, check, pass, ..."""
    message = NAMES.get((kind, key))
    return key if message is None else translated(message)


def listed(parts: Iterable[str]) -> str:
    """The parts with the commas of the language."""
    return _(", ").join(parts)


def detailed(quantity: str, details: Sequence[str]) -> str:
    """`gsm8k (acc, 0-shot)`; alone without details."""
    return _("{quantity} ({details})", quantity=quantity, details=details) if details else quantity


def said_of(name: str, what: str | Sequence[str]) -> str:
    """`rises: holds`; several things with the commas of the language."""
    return _("{name}: {relation}", name=name, relation=what)


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values of each key, both in their order."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def yes_or_no(value: bool) -> str:
    return _("yes") if value else _("no")


def joined_sentences(texts: Iterable[str]) -> str:
    """The sentences as one text, with blanks between them where the language has some. Empty ones are skipped."""
    non_empty = [text for text in texts if text]
    return (
        reduce(lambda before, after: _("{first} {second}", first=before, second=after), non_empty) if non_empty else ""
    )


def names(kind: str, keys: Iterable[str]) -> dict[str, str]:
    """The names of several things of a kind, by key."""
    return {key: name(kind, key) for key in keys}


def kind_text(kind: str, stack: str) -> str:
    """A kind of model, and the part of it that was read if it has two: `encoder-decoder (its decoder)`."""
    return detailed(name("kind", kind), [] if stack == "main" else [name("stack", stack)])


def control_name(pass_: str, model_seed: int | None) -> str:
    """A pass, with the seed of its weights if it has one network: `random weights, seed 1`."""
    pass_name = name("pass", pass_)
    if model_seed is None or PASSES[pass_].judges:
        return pass_name
    return _("{name}, seed {seed}", name=pass_name, seed=model_seed)


def pass_text(pass_: str, model_seed: int | None = None) -> str:
    """`control: random weights, seed 1`."""
    return _("control: {name}", name=control_name(pass_, model_seed))


def estimator_name(estimator: str) -> str:
    """The estimator's name in a list of choices, with the scale that its key may state: `gride_8`."""
    skdim_name = _skdim_name(estimator)
    if skdim_name is not None:
        return _("{method} (scikit-dimension)", method=skdim_name)
    estimator, n1, n2 = _parsed_estimator(estimator, None, None)
    text = name("estimator", estimator)
    if estimator == "gride" and n1 is not None:
        return f"{text} (n1={n1}, n2={n2})"
    return f"{text} (k={n2})" if estimator == "local_d2" and n2 is not None else text


def estimator_symbol(estimator: str, n1: int | None = None, n2: int | None = None) -> str:
    """The short form for titles and axes: `GRIDE n1=8`."""
    skdim_name = _skdim_name(estimator)
    if skdim_name is not None:
        return f"{skdim_name} skdim"
    estimator, n1, n2 = _parsed_estimator(estimator, n1, n2)
    symbol = translated(ESTIMATORS[estimator].symbol) if estimator in ESTIMATORS else estimator
    if estimator.startswith("gride") and n1 is not None:
        return f"{symbol} n1={n1}"
    if estimator.startswith("mle"):
        return f"{symbol} k={n2 or 20}"
    return f"{symbol} k={n2}" if estimator == "local_d2" and n2 is not None else symbol


def _skdim_name(estimator: str) -> str | None:
    """Names in scikit-dimension's own spelling: proper names, the same in every language."""
    if not estimator.startswith("skdim_"):
        return None
    return ESTIMATORS[estimator].symbol if estimator in ESTIMATORS else estimator.removeprefix("skdim_")


def _parsed_estimator(estimator: str, n1: int | None, n2: int | None) -> tuple[str, int | None, int | None]:
    """Parses registry names: `gride_8` is GRIDE at ranks 8 and 16, `local_d2_50` is local d2 at k=50."""
    match = re.fullmatch(r"(gride|local_d2)_(\d+)", estimator)
    if not match:
        return estimator, n1, n2
    scale = int(match[2])
    return ("gride", scale, 2 * scale) if match[1] == "gride" else ("local_d2", None, scale)


def check_meaning(check_key: str) -> str:
    """What a check guards against and what to do; empty if there is no explanation yet."""
    check = CHECKS.get(check_key)
    return translated(check.meaning) if check and check.meaning else ""


_TELLING = ("requested_revision", "stack", "corpus_name", "protocol", "seed", "dtype")
_CONTROL = ("pass_", "model_seed")
"""Fields that together name a control."""
LONGEST = 26
VETO_MARK = "‡"
"""Follows the name of a run that a check vetoes, wherever its numbers appear."""


def text_name(reference: str) -> str:
    """A text by the name that a person gave it: of a file its name, without the folder, which may be one of ours."""
    return Path(reference).name if os.sep in reference else reference


def short_id(run_id: str) -> str:
    """The end of a run id, which is random; its beginning is the time, and equal for runs of one minute."""
    return run_id[-6:]


def run_labels(runs: pl.DataFrame) -> dict[str, str]:
    """As `labels_of`, of rows of runs; a column that they lack tells nothing apart."""
    telling = ("run_id", "name", "pass", "model_seed", "worst_check", *_TELLING)
    return labels_of(records(runs.select(column for column in telling if column in runs.columns), Run))


def labels_of(runs: Sequence[Run]) -> dict[str, str]:
    """run_id -> the model's name, whatever differs between runs of that model, and the end of the id if nothing does.

    Keeps the order of the runs. A run that a check vetoes is marked.
    """
    differing = {
        of: [field for field in (*_CONTROL, *_TELLING) if len({getattr(run, field, None) for run in alike}) > 1]
        for of, alike in grouped((run.name, run) for run in runs).items()
    }
    labels = {}
    for run in runs:
        fields = differing[run.name]
        details = [control_name(run.pass_, getattr(run, "model_seed", None))] if {*_CONTROL} & {*fields} else []
        details += [
            _value_text(key, value) for key in fields if key in _TELLING and (value := getattr(run, key)) is not None
        ]
        labels[run.run_id] = " · ".join([run.name, *details])
    vetoed = {run.run_id for run in runs if getattr(run, "worst_check", None) == "veto"}
    times = Counter(labels.values())
    return {
        run_id: marked_name(label if times[label] == 1 else f"{label} · {short_id(run_id)}", run_id in vetoed)
        for run_id, label in labels.items()
    }


def is_vetoed(run: Run) -> bool:
    """Whether a check vetoes the run's numbers."""
    return run.worst_check == "veto"


def marked_name(name: str, is_vetoed: bool) -> str:
    """The name of a run, with a mark if a check vetoes it."""
    return f"{name} {VETO_MARK}" if is_vetoed else name


def shortened_name(name: str, longest: int = LONGEST) -> str:
    """A name without its middle if it is long: both ends (family, size) tell models apart.

    The cut is between words if most of each end remains.
    """
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return text_without_middle(name, longest - 1 - tail, tail)


MAX_NAMES = 6
"""Names in one line; the others are counted."""


def names_text(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """The first names, and how many more there are: `a, b, 3 more`."""
    more = [_("{count} more", count=counted(len(names) - most, "runs"))] if len(names) > most else []
    return listed([*names[:most], *more])


def distinguishing_names(names: Sequence[str], fewest: int = 3) -> list[str]:
    """The names without their common prefix and suffix of whole words, because charts have little room:
    `ladder-128-base-step1500`, `ladder-128-lr-6e-3-step1500`, ... become `base`, `lr-6e-3`, ... Fewer than `fewest` stay whole."""
    if len(names) < fewest:
        return list(names)
    parts = [re.split(r"(?<=[-_/ ])|(?=[-_/ ])", name) for name in names]
    start = _n_alike(parts)
    end = _n_alike([of_name[start:][::-1] for of_name in parts])
    cut = ["".join(of_name[start : len(of_name) - end]).strip("-_/ ") for of_name in parts]
    return cut if all(cut) and len(set(cut)) == len(set(names)) else list(names)


def _n_alike(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all have in common at their beginning."""
    return len(list(takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))))


def distinct_short_names(names: Sequence[str], shorten: Callable[[str], str] = shortened_name) -> list[str]:
    """Shortened names that stay distinct: if two became equal, what all have in common is left out first, and then what those
    have that are equal still."""
    short = {name: shorten(name) for name in names}
    if len(set(short.values())) < len(short):
        short = dict(zip(names, map(shorten, distinguishing_names(names, fewest=2)), strict=True))
    for cut in [cut for cut, n in Counter(short.values()).items() if n > 1]:
        alike = [name for name in short if short[name] == cut]
        short |= zip(alike, map(shorten, distinguishing_names(alike, fewest=2)), strict=True)
    return [short[name] for name in names]


_SEPARATORS = " /_·-"


def text_without_middle(text: str, head: int, tail: int) -> str:
    """About `head` and `tail` letters around an ellipsis. The cut is between words if most of each end remains."""
    first, last = text[:head], text[len(text) - tail :]
    if text[head] not in _SEPARATORS:
        first = _whole_words(first)
    if text[-tail - 1] not in _SEPARATORS:
        last = _whole_words(last[::-1])[::-1]
    return f"{first}…{last}"


def _whole_words(cut: str) -> str:
    at = max(cut.rfind(separator) for separator in _SEPARATORS)
    return cut[: at + 1].rstrip() if at >= len(cut) // 2 else cut


def layer_text(layer: int | None, n_layers: int) -> str:
    """A layer with its model's depth: `5 of 30`."""
    return "–" if layer is None else _("{band} of {layers}", band=layer, layers=n_layers)


def _value_text(column: str, value: object) -> str:
    if column == "stack":
        return name("stack", str(value))
    return _("seed {seed}", seed=value) if column == "seed" else str(value)


# --- numbers -----------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Three significant digits, as many as the errors allow; a dash for no value."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return shown(value, "z.0f")  # a difference of nothing is 0, not -0
    if abs(value) < 1e-4:
        return shown(value, ".2e")
    power = math.floor(math.log10(abs(float(shown(value, ".2e")))))  # of the value after rounding: 9.996 is 10.0
    return shown(value, f".{max(0, 2 - power)}f")


def rounded(value: float | None) -> str:
    """A number for a headline: no digits after the point from 10 on."""
    return number(value) if value is None or abs(value) < 9.5 else shown(value, ".0f")


def percent(share: float, lower: float | None = None, upper: float | None = None) -> str:
    """A signed difference with its 95 percent interval: `+12 % [+4, +20]`."""
    text = shown(100 * share, "+z.0f") + ("%" if spoken() == "ja" else " %")
    if lower is None or upper is None:
        return text
    return Text("{text} [{lower:+z.0f}, {upper:+z.0f}]").format(text=text, lower=100 * lower, upper=100 * upper)


def share_text(share: float, digits: int = 0) -> str:
    """A share in percent: `40 %`, `0.4 %`; with one digit `40.3 %`, `0.43 %`."""
    percent = 100 * share
    is_small = 0.001 <= abs(percent) < 1  # less is none: nobody reads 1e-05 %
    return _("{n} %", n=shown(percent, f".{1 + digits}g" if is_small else f".{digits}f"))


def with_interval(value: float | None, lower: float | None, upper: float | None) -> str:
    """A value with its 95 percent interval: `106 [99, 113]`; without brackets if the error is not known."""
    if value is None or lower is None or upper is None:
        return number(value)
    return Text("{} {}").format(number(value), bracket(lower, upper))


def with_error(value: float | None, error: float | None) -> str:
    """A value with its standard error: `4.50 ± 0.2`; alone if the error is not known."""
    return number(value) if error is None else Text("{} ± {:.2g}").format(number(value), error)


def with_limits(value: float | None, lower: float | None, upper: float | None, form: str) -> str:
    """As `with_interval`, but value and limits alike in one form: `+0.420 [+0.380, +0.460]` for `+.3f`."""
    if value is None:
        return "–"
    if lower is None or upper is None:
        return shown(value, form)
    return Text("{} [{}, {}]").format(*(shown(one, form) for one in (value, lower, upper)))


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
        return _("{n} s", n=max(1, round(seconds)))
    if seconds < 5400:
        return _("{n} min", n=round(seconds / 60))
    return _("{n} h", n=shown(seconds / 3600, ".1f"))
