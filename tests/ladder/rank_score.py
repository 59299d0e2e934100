"""`python -m tests.ladder.rank_score`: every estimator that can be run, on the stream behind bottlenecks of known rank.

Readings go to data/reference/rank_readings.csv as they are made, none a second time; `--table` makes docs/accuracy/known_rank.csv,
its picture and its section of docs/accuracy.md of what is there. DADApy has an environment of its own: `--points` writes the clouds, and `python
tests/ladder/rank_dadapy.py` reads them with it. On two clouds of each network: `stream`, the states themselves, of which the rank bounds every
dimension from above; and `whitened`, their r coordinates made uncorrelated and of equal variance, of which the linear dimension
is the rank. Tokens are drawn from held-out code, 32 from each of 64 windows; further draws share no window.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
import torch
from filelock import FileLock, Timeout

from core.figures.chart import Chart, Point, Series, log_axis, y_ends
from core.figures.svg import Caption, chart_svg
from core.geometry.estimators import ESTIMATORS
from core.records import Estimate
from core.registry import estimators
from tests.bench.coverage import TABLES, keep, table
from tests.ladder import text
from tests.ladder.__main__ import DATA, give_way
from tests.ladder.dose import add, results
from tests.ladder.rank import RANKS, WEIGHTS, Narrowed, Network, load, networks
from tests.ladder.recipes import CONTEXT, STEPS

READINGS = DATA / "reference" / "rank_readings.csv"
DOCUMENT = TABLES.parent / "accuracy.md"
PICTURE = TABLES.parent / "figures" / "known_rank.en.svg"
BEGIN, END = "<!-- known rank: written by `python -m tests.ladder.rank_score --table` -->", "<!-- known rank ends -->"
BEFORE = "## What these numbers do not show"
"""The heading of the document that the section stands before."""
N_WINDOWS, N_TOKENS = 64, 32
"""Of a draw: 2,048 points."""
FIRST = 8
"""Position of a window from which on tokens are drawn: the first ones know too little."""
N_DRAWS = 8
STREAM, WHITENED = "stream", "whitened"
ROUNDING = 1e-6
"""Share of the rank above which a reading breaks its bound."""
SLOW = ("skdim_DANCo",)
"""Read last: it takes as long as all others together."""
NEEDS_TYPES = ("d2_typed", "gride_typed")
"""Left out: they leave out pairs of one token type, which is about text and not about a cloud."""
SHOWN = ("d2", "participation_ratio", "effective_rank", "two_nn", "mle", "gride_8", "local_d2_50")
"""Estimators whose numbers the section tells."""
DRAWN = ("d2", "participation_ratio", "two_nn", "mle", "gride_8", "skdim_lPCA", "skdim_FisherS", "dadapy_two_nn")
"""Estimators of the picture, where they were run."""


@dataclass(frozen=True)
class Reading:
    rank: int
    seed: int
    steps: int
    cloud: str
    draw: int
    estimator: str
    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Clouds:
    """What a network makes of held-out windows behind its bottleneck."""

    stream: np.ndarray
    """(n_windows, n_positions, hidden_size)"""
    whitened: np.ndarray
    """(n_windows, n_positions, r), with the covariance of all of them"""

    def drawn(self, cloud: str, draw: int) -> tuple[torch.Tensor, np.ndarray]:
        """Points (N_WINDOWS * N_TOKENS, n_dims) of a draw, and their windows."""
        values: np.ndarray = getattr(self, cloud)
        order = np.random.default_rng(2604).permutation(len(values))
        windows = order[draw * N_WINDOWS : (draw + 1) * N_WINDOWS]
        generator = np.random.default_rng([20276, draw])
        places = np.stack([generator.permutation(values.shape[1])[:N_TOKENS] for _ in windows])
        points = values[windows[:, None], places].reshape(-1, values.shape[2])
        return torch.from_numpy(points).float(), np.repeat(np.arange(len(windows)), N_TOKENS)


def held_out_windows() -> torch.Tensor:
    """Held-out code in windows that do not overlap; (n_windows, CONTEXT)."""
    tokenizer = text.tokenizer()
    files = text.held_out("code")
    ids = [[tokenizer.eos_token_id, *tokenizer.backend_tokenizer.encode(files[name]).ids] for name in sorted(files)]
    whole = [one[start : start + CONTEXT] for one in ids for start in range(0, len(one) - CONTEXT + 1, CONTEXT)]
    return torch.tensor(whole)


@torch.inference_mode()
def clouds(model: Narrowed, ids: torch.Tensor) -> Clouds:
    """Stream and whitened coordinates of windows (n_windows, n_tokens). Coordinates are what the bottleneck lets through, V x: the
    stream is computed from them in float64, so that no rounding adds a dimension."""
    kept: list[torch.Tensor] = []
    handle = model.down.register_forward_hook(lambda _module, _given, output: kept.append(output[:, FIRST:]))
    for batch in ids.split(32):
        model.model(input_ids=batch, use_cache=False)
    handle.remove()
    coordinates = torch.cat(kept).double()  # (n_windows, n_positions, r)
    stream = coordinates @ model.up.weight.double().T + model.up.bias.double()
    flat = coordinates.flatten(0, 1)
    variances, axes = torch.linalg.eigh(torch.cov(flat.T))
    whitened = (coordinates - flat.mean(0)) @ (axes / variances.sqrt())
    return Clouds(stream.numpy(), whitened.numpy())


def wanted(draws: int) -> Iterator[tuple[str, int, str]]:
    """Cloud, draw and estimator: all of them on the first draw, those with an interval on the whitened coordinates of more."""
    keys = [key for key in ESTIMATORS if key not in (*SLOW, *NEEDS_TYPES, "gride", "local_d2")]
    for cloud in (STREAM, WHITENED):
        yield from ((cloud, 0, key) for key in keys)
    for draw in range(1, draws):
        yield from ((WHITENED, draw, key) for key in keys if not estimators.ESTIMATORS[key].package)
    yield from ((cloud, 0, key) for key in SLOW for cloud in (STREAM, WHITENED))


def score(network: Network, out: Path, file: Path, draws: int) -> None:
    """Add the readings of a network that are not in the file."""
    known = {(one["cloud"], int(one["draw"]), one["estimator"]) for one in of_network(network, file)}
    missing = [one for one in wanted(draws) if one not in known]
    if not missing:
        return
    made = clouds(load(network.saved(out)), held_out_windows())
    draws_there = len(made.stream) // N_WINDOWS
    for cloud, draw, key in missing:
        if draw < draws_there:
            points, sequences = made.drawn(cloud, draw)
            found: Estimate = ESTIMATORS[key](points, sequences)
            ends = [round(float(one), 4) for one in (found.value, found.lower, found.upper)]
            add(Reading(network.rank, network.seed, network.steps, cloud, draw, key, *ends), file)


def of_network(network: Network, file: Path) -> list[dict[str, str]]:
    wanted = (str(network.rank), str(network.seed), str(network.steps))
    return [one for one in results(file) if (one["rank"], one["seed"], one["steps"]) == wanted]


def write_points(network: Network, out: Path) -> None:
    """The first draw of both clouds, for readers in other environments."""
    made = clouds(load(network.saved(out)), held_out_windows())
    for cloud in (STREAM, WHITENED):
        np.save(out / f"{cloud}-{network.rank}-{network.seed}-{network.steps}.npy", made.drawn(cloud, 0)[0].numpy())


# --- what came out ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One estimator over all networks that it was run on."""

    estimator: str
    networks: int
    by_rank: tuple[float, ...]
    """Median reading on the stream for each of RANKS; NaN where there is none."""
    broken: int
    """Networks whose stream it reads above the rank."""
    most: float
    """Largest reading of a stream over its rank: by how much a bound is broken, as sampling alone can do it by a little."""
    ordered: float
    """Share of the pairs of networks of different rank that it reads in their order."""
    ratio: float
    """Median of whitened reading over rank, and the lowest and the highest."""
    lowest: float
    highest: float
    intervals: int
    """On whitened coordinates, over draws; `held` of them hold the rank."""
    held: int


def rows(readings: Sequence[Reading]) -> list[Row]:
    """For each estimator; those that break no bound and keep the order first, nearest to the rank."""
    by_key: dict[str, list[Reading]] = {}
    for one in readings:
        by_key.setdefault(one.estimator, []).append(one)
    return sorted((row_of(key, own) for key, own in by_key.items()), key=_merit)


def row_of(key: str, own: Sequence[Reading]) -> Row:
    stream = [one for one in own if (one.cloud, one.draw) == (STREAM, 0) and math.isfinite(one.value)]
    whitened = [one for one in own if one.cloud == WHITENED]
    ratios = [one.value / one.rank for one in whitened if one.draw == 0 and math.isfinite(one.value)]
    intervals = [one for one in whitened if math.isfinite(one.lower)]
    in_order = [(a.rank - b.rank) * (a.value - b.value) > 0 for a, b in combinations(stream, 2) if a.rank != b.rank]
    of_rank = [[one.value for one in stream if one.rank == rank] for rank in RANKS]
    return Row(
        key,
        len(stream),
        tuple(median(values) if values else math.nan for values in of_rank),
        sum(one.value > one.rank * (1 + ROUNDING) for one in stream),
        max((one.value / one.rank for one in stream), default=math.nan),
        sum(in_order) / len(in_order) if in_order else math.nan,
        median(ratios) if ratios else math.nan,
        min(ratios, default=math.nan),
        max(ratios, default=math.nan),
        len(intervals),
        sum(one.lower <= one.rank <= one.upper for one in intervals),
    )


def _merit(row: Row) -> tuple[float, float, float]:
    disorder = 1 - row.ordered if math.isfinite(row.ordered) else 1.0
    return row.broken, disorder, abs(math.log(row.ratio)) if row.ratio > 0 else math.inf


def readings(file: Path, steps: int) -> list[Reading]:
    return [
        Reading(
            int(one["rank"]),
            int(one["seed"]),
            steps,
            one["cloud"],
            int(one["draw"]),
            one["estimator"],
            *(float(one[name]) for name in ("value", "lower", "upper")),
        )
        for one in results(file)
        if one["steps"] == str(steps)
    ]


def write_table(file: Path, steps: int) -> None:
    """Table, picture and section. Raises ValueError where nothing was read."""
    read = readings(file, steps)
    made = rows(read)
    if not made:
        raise ValueError(f"{file} has no readings of networks of {steps} steps")
    head = [
        "estimator",
        "networks",
        *(f"reads_at_{rank}" for rank in RANKS),
        "bounds_broken",
        "most_over_rank",
        "pairs_in_order",
    ]
    head += ["whitened_over_rank", "lowest", "highest", "intervals", "hold_the_rank"]
    cells = [
        [
            row.estimator,
            row.networks,
            *(_number(value) for value in row.by_rank),
            row.broken,
            _number(row.most),
            _number(row.ordered),
            *(_number(value) for value in (row.ratio, row.lowest, row.highest)),
            row.intervals or "",
            row.held if row.intervals else "",
        ]
        for row in made
    ]
    keep("known_rank", table(head, cells))
    PICTURE.write_text(picture(made), encoding="utf-8")
    told = section(made, {(one.rank, one.seed) for one in read}, steps)
    DOCUMENT.write_text(with_section(DOCUMENT.read_text(encoding="utf-8"), told), encoding="utf-8")


def with_section(document: str, told: str) -> str:
    """The document with the section, in place of an earlier one."""
    before, found, rest = document.partition(BEGIN)
    after = rest.partition(END)[2].lstrip("\n") if found else document[document.index(BEFORE) :]
    before = before if found else document[: document.index(BEFORE)]
    return f"{before}{BEGIN}\n{told}\n{END}\n\n{after}"


def section(made: Sequence[Row], trained: Collection[tuple[int, int]], steps: int) -> str:
    """What came out, in sentences; `trained` are rank and seed of each network."""
    ranks = ", ".join(str(rank) for rank in RANKS if any(rank == one for one, _seed in trained))
    breaking = sorted((row for row in made if row.broken), key=lambda row: -row.broken)
    worst = "; ".join(
        f"{row.estimator} in {row.broken} of {row.networks}, up to {row.most:.2f} times it" for row in breaking[:5]
    )
    ordered = [row for row in made if row.ordered == 1.0]
    others = sorted((row for row in made if row.ordered < 1.0), key=lambda row: row.ordered)
    least = ", ".join(f"{row.estimator} {100 * row.ordered:.0f} %" for row in others[:5])
    named = [row for key in SHOWN for row in made if row.estimator == key]
    ratios = ", ".join(f"{row.estimator} {row.ratio:.2f} ({row.lowest:.2f} to {row.highest:.2f})" for row in named)
    held = ", ".join(f"{row.estimator} {row.held} of {row.intervals}" for row in named if row.intervals)
    lines = [
        "## Where the rank is known",
        "",
        f"{len(trained)} small networks were trained for {steps:,} steps with a linear bottleneck of {ranks} dimensions after one block. The "
        "states behind it lie in as many, which bounds every dimension from above; with these coordinates made uncorrelated and equal in "
        f"variance, the linear dimension is the rank. {len(made)} estimators read both, on {N_WINDOWS * N_TOKENS:,} tokens of held-out code "
        "([table](accuracy/known_rank.csv)).",
        "",
        "![What estimators read over the rank](figures/known_rank.en.svg)",
        "",
        f"- **Bounds**: {len(made) - len(breaking)} of {len(made)} never read above the rank"
        + (f". Most often did {worst}." if breaking else "."),
        f"- **Order**: {len(ordered)} put all pairs of networks in order"
        + (f"; least did {least}." if others else "."),
        f"- **Over the rank**, on the equalised coordinates, median and range: {ratios}.",
        f"- **Intervals** that hold the rank there, over {N_DRAWS} draws of each network: {held}. They tell the sampling of tokens, and hold "
        "what an estimator reads on all of them; they do not tell how far that is from the rank.",
        "",
        "Below the rank nothing is wrong with a nearest-neighbour estimator: text may fill fewer curved dimensions than a layer has straight "
        "ones. Above it something is, beyond what sampling does. So this decides what arXiv 2604.20276 asks for straight dimensions alone. `python -m "
        "tests.ladder.rank` trains the networks, `tests.ladder.rank_score` reads them.",
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def picture(made: Sequence[Row]) -> str:
    """What some estimators read on the stream, over its rank, both on logarithmic axes."""
    shown = {row.estimator: row for row in made if row.estimator in DRAWN}
    truth = Series("rank", tuple(Point(rank, rank) for rank in RANKS), None, dash="dash")
    lines = [
        Series(
            key,
            tuple(Point(rank, value) for rank, value in zip(RANKS, shown[key].by_rank, strict=True) if value == value),
            n,
            mark="circle",
        )
        for n, key in enumerate(key for key in DRAWN if key in shown)
    ]
    series = (truth, *lines)
    x = replace(log_axis("Rank of the bottleneck", RANKS), labels=tuple((float(rank), str(rank)) for rank in RANKS))
    y = log_axis("Dimension read on the stream behind it", y_ends(series))
    told = "; ".join(f"{key} {', '.join(f'{value:.3g}' for value in shown[key].by_rank)}" for key in shown)
    chart = Chart(x, y, series, f"Readings at ranks {RANKS}: {told}"[:300])
    n = max((row.networks for row in made), default=0)
    caption = Caption(
        "What estimators read where the rank is known",
        f"{n} trained networks, medians over seeds; above the dashed line no dimension can lie",
        "docs/accuracy/known_rank.csv",
    )
    return chart_svg(chart, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS, metavar="FOLDER", help="of weights")
    parser.add_argument("--readings", type=Path, default=READINGS, metavar="FILE")
    parser.add_argument(
        "--draws", type=int, default=N_DRAWS, help="of whitened coordinates, for the coverage of intervals"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="that the networks were trained for")
    parser.add_argument("--points", action="store_true", help="write the clouds beside the weights instead")
    parser.add_argument("--table", action="store_true", help="make table and picture of what was read instead")
    options = parser.parse_args()
    if options.table:
        write_table(options.readings, options.steps)
        return
    give_way()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for network in networks(options.steps):
        if not network.saved(options.out).exists():
            continue
        try:
            with FileLock(options.out / network.recipe.name / "score.lock", timeout=0):
                if options.points:
                    write_points(network, options.out)
                else:
                    score(network, options.out, options.readings, options.draws)
                print(network.recipe.name, flush=True)
        except Timeout:
            continue


if __name__ == "__main__":
    main()
