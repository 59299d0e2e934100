"""`python -m tests.bench.accuracy`: how far each estimator is from what it estimates, written as docs/accuracy.md.

Everything is seeded. `--costs` prints what each estimator costs instead, as the records in core.registry.estimators have it.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from core.geometry.estimators import ESTIMATORS
from core.geometry.neighbour_dimensions import OVERLAP
from core.registry import estimators
from core.registry.protocols import PROTOCOLS
from tests.bench import coverage
from tests.bench import relations as bench
from tests.bench.coverage import table, with_section
from tests.bench.decisions import decisions
from tests.bench.layer import tiled_top_64

N_POINTS = 2000
N_POPULATION = 20_000
MANIFOLDS = (
    "M1_Sphere",
    "M2_Affine_3to5",
    "M3_Nonlinear_4to6",
    "M4_Nonlinear",
    "M5b_Helix2d",
    "M6_Nonlinear",
    "M7_Roll",
    "M8_Nonlinear",
    "M9_Affine",
    "M10b_Cubic",
    "M10d_Cubic",
    "M12_Norm",
    "M13a_Scurve",
    "Mbeta",
    "Mn1_Nonlinear",
    "Mp2_Paraboloid",
)
NEIGHBOURS = (
    "two_nn",
    "two_nn_censored",
    "two_nn_linear",
    "mle",
    "gride_2",
    "gride_8",
    "local_d2_20",
    "correlation_integral",
)
THEIRS = (
    "skdim_TwoNN",
    "skdim_MLE",
    "skdim_GRIDE",
    "skdim_CorrInt",
    "skdim_lPCA",
    "skdim_MOM",
    "skdim_TLE",
    "skdim_FisherS",
)
GLOBAL = ("d2", "participation_ratio", "effective_rank", "stable_rank")
GROUPS = {"ours": NEIGHBOURS, "theirs": THEIRS, "global": GLOBAL}
CEILING = (
    "d2",
    "local_d2_50",
    "participation_ratio",
    "effective_rank",
    "stable_rank",
    "two_nn",
    "mle",
    "gride_8",
    "gride_32",
    "correlation_integral",
)
CEILING_DIMS = (5, 10, 20, 40, 60, 100, 200)
CEILING_POINTS = (1000, 4000)
N_DRAWS = 1000


def value(name: str, points: np.ndarray | torch.Tensor) -> float:
    return ESTIMATORS[name](points, n_blocks=0).value


# --- manifolds -----------------------------------------------------------------------------------------------------


def manifold(name: str, n: int, seed: int) -> tuple[np.ndarray, int]:
    """Points of one of scikit-dimension's benchmark manifolds, without noise, and its dimension."""
    import skdim

    source = skdim.datasets.BenchmarkManifolds(random_state=seed)
    d, n_dims = source.truth.loc[name].iloc[:2].astype(int)
    return source.generate(name, n=n, d=d, dim=n_dims), d


def with_error(estimate: float, truth: float) -> str:
    return f"{estimate:.2f} ({100 * (estimate / truth - 1):+.0f} %)" if math.isfinite(estimate) else "undefined"


def typical(errors: list[float]) -> str:
    """Median and largest absolute error; undefined readings are left out of both and counted."""
    sizes = np.abs([e for e in errors if math.isfinite(e)])
    missing = len(errors) - len(sizes)
    lost = f", {missing} undefined" if missing else ""
    return f"{100 * np.median(sizes):.0f} % / {100 * np.max(sizes):.0f} %{lost}"


def manifold_tables() -> list[str]:
    """Neighbour estimators against the manifold's dimension, ours and theirs; global ones against a large sample."""
    rows: dict[str, list[list[str]]] = {"ours": [], "theirs": [], "global": []}
    errors: dict[str, list[float]] = {}
    for name in MANIFOLDS:
        points, d = manifold(name, N_POINTS, seed=0)
        population = torch.from_numpy(manifold(name, N_POPULATION, seed=1)[0]).float()
        for group, names in GROUPS.items():
            cells = []
            for estimator in names:
                estimate = value(estimator, points)
                truth = value(estimator, population) if group == "global" else d
                errors.setdefault(estimator, []).append(estimate / truth - 1)
                suffix = f" of {truth:.2f}" if group == "global" else ""
                cells.append(with_error(estimate, truth).replace(" (", f"{suffix} ("))
            rows[group].append([f"{name}, d = {d}", *cells])
    result = []
    for group, names in GROUPS.items():
        last = ["**median / largest error**", *[typical(errors[n]) for n in names]]
        result.append(table(["cloud", *names], [*rows[group], last]))
    return result


# --- ceiling -------------------------------------------------------------------------------------------------------


def ceiling_table(n_points: int) -> str:
    rows = []
    for d in CEILING_DIMS:
        points = torch.randn(n_points, d, generator=torch.Generator().manual_seed(d))
        rows.append([d, *[f"{value(name, points):.1f}" for name in CEILING]])
    return table(["d", *CEILING], rows)


# --- costs ---------------------------------------------------------------------------------------------------------


def measured_costs() -> None:
    """Prints the cost of each estimator: time of one call with its defaults over t1, on one cloud in turn, one thread."""
    torch.set_num_threads(1)
    state = np.random.RandomState(0)
    n, n_dims = estimators.CLOUD
    basis = np.linalg.qr(state.normal(size=(n_dims, 20)))[0]
    cloud = state.normal(size=(n, 20)) @ basis.T + 0.01 * state.normal(size=(n, n_dims))
    points = torch.tensor(cloud, dtype=torch.float32)
    for name in sorted(ESTIMATORS):
        ratios = []
        for _ in range(1 if estimators.ESTIMATORS[name].cost > 50 else 3):
            before, spent, after = (
                seconds(tiled_top_64, points),
                seconds(once, name, points),
                seconds(tiled_top_64, points),
            )
            ratios.append(2 * spent / (before + after))
        print(f'    "{name}": {float(f"{min(ratios):.2g}"):g},', flush=True)


def once(name: str, points: torch.Tensor) -> None:
    ESTIMATORS[name](points, **({"types": np.arange(len(points))} if name.endswith("_typed") else {}))


def seconds(work, *arguments) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def cost_table() -> str:
    return table(
        ["estimator", "cost in t1"], [[name, f"{e.cost:g}"] for name, e in sorted(estimators.ESTIMATORS.items())]
    )


# --- the document --------------------------------------------------------------------------------------------------

MEASURED = """# How accurate the estimators are

Written by `python -m tests.bench.accuracy` (version {algorithm} of the algorithm, torch {torch}, scikit-dimension
{skdim}; every cloud is seeded). Errors in brackets are relative to the population value of what an estimator estimates.
Single clouds are read, so `two_nn` has a standard error of about {two_nn_error:.0f} % at {n} points.

## Clouds of known dimension

Sixteen of scikit-dimension's benchmark manifolds, {n} points each, without noise. Neighbour estimators are held against
the dimension of the manifold.

{ours}

scikit-dimension's own figures on the same clouds: `skdim_TwoNN` is the linear fit, `skdim_GRIDE` reads at ranks 8 and
16, `skdim_MLE` at 20 neighbours; they are the same estimators as `two_nn_linear`, `gride_8` and `mle`.

{theirs}

Global quantities are not the dimension of a manifold: on a curved one they count the directions that it bends through.
Their population value is read on another sample of {population} points: "9.97 of 9.95 (+0 %)" is a reading, its
population value and the error. `d2` and `participation_ratio` are corrected for the number of points, `effective_rank`
and `stable_rank` are not.

{globals}

## The ceiling of neighbour estimators

Isotropic Gaussian clouds: the truth is d in every line. Distances concentrate in high dimension, so that no number of
points that a text can give lets nearest neighbours see it. Beside such a reading a run therefore stores the dimension
of the Gaussian cloud of as many points that reads the same.

{ceilings}

## Whether 95 percent intervals of d2 hold the truth

{draws} clouds for each line, {tokens} tokens per sequence, 16 blocks; an effect common to all tokens of a sequence
makes up a share of the variance. Three things make the intervals what they are:

- The mean of the cloud is that of its own sequences, which adds about (share / sequences)^2 to every squared cosine:
  d2 was 3 % too low with 16 sequences, and as much with 32 whose lengths differ twentyfold. That is taken off.
- Interactions of two blocks count twice in the variance of the jackknife: with equal variances, where they are all that
  there is, errors were 1.4 times the true spread. Leaving two blocks out at a time shows them (Efron and Stein 1981).
- A sample whose d2 is too high lacks what makes it vary, so that its error is too small: 89 to 92 % coverage where few
  tokens or sequences make up one direction. How the error goes with the value shows in the same pairs of blocks; where
  it falls, the quantile of Student's t grows by what the error would be greater at the lower end, to 1.5 times at most.

{coverage}

{verdict}

One dominant direction, few sequences, and lengths of sequences from {shortest} to {longest} tokens:

{hard}

{hard_verdict}

The same for what a run reports: of tokens whose types are as unequal as words, one per type and at most 400 types,
chosen by five random orders; leaving a block out draws tokens anew. {report_draws} clouds for each line.

{reported}
"""
OTHERS = """
## Whether intervals of other estimators, and of ratios of two layers, hold the truth

{draws} clouds for each line. In each cell: 95 % intervals that hold the truth, and the mean error over the true spread.
Ratios are those of a layer to another, on the same tokens, whose first coordinate is {stretched:g} times as long, as a claim
about layers judges them. The truth of a neighbour estimate, which depends on the number of points, is its own mean.

- The participation ratio takes pairs of different sequences alone, as d2 does. Over all pairs it was 6 % too low with 32
  sequences and a share of .2, 11 % with 16 and .36. Its intervals are corrected as those of d2 are; where one direction
  dominates it reads up to 7 % too high, so that its error also takes in the bias that the jackknife finds.
- Where neighbours are of other sequences only, a block that is left out changes the neighbours of all other points, and
  the error of the jackknife is 1.1 to 2 times the true spread. Leaving out points as centres alone, which stay as
  neighbours of others, is .6 to 1 times it, the less the more neighbours are shared. The variance taken lies at
  n2 / {overlap} of the way between the two (twice that for the maximum likelihood), a share fitted on such clouds: with
  the correction for samples that read high these intervals are rather too wide than too narrow.
- Claims spread the blocks of each layer as widely as its own interval is. With the plain jackknife 99 % of the intervals
  held the ratio of two layers of equal variances, and 90 % that of two which one direction dominates.
- The effective rank depends on the number of points: its interval is that of the jackknife, about a value that is biased.
  Neighbour estimates whose neighbours may be of one sequence keep the jackknife too, which is .95 to 1.2 times the spread.

{others}

{verdict}
"""
READ_FROM_THE_CODE = """
## What an estimator costs

One call with its defaults, errors included, on 2,000 points in 100 dimensions. Unit t1: a tiled product of the cloud
with itself and the 64 nearest of each point selected; both on one thread. Neighbour estimators with errors search 17
times here; in a measurement they share one search.

{costs}

## Decisions

{decisions}
"""


def others(n_draws: int) -> str:
    lines = coverage.table_of_others(coverage.OTHERS, n_draws)
    return OTHERS.format(
        draws=f"{n_draws:,}",
        stretched=coverage.STRETCHED,
        overlap=OVERLAP,
        others=lines,
        verdict=coverage.verdict_of_others(lines),
    )


def measured(n_draws: int) -> str:
    ours, theirs, globals_ = manifold_tables()
    covered, hard = (coverage.table_of_clouds(cases, n_draws) for cases in (coverage.ORDINARY, coverage.HARD))
    report_draws = n_draws // 5  # they take longer
    ceilings = "\n\n".join(f"{n:,} points:\n\n{ceiling_table(n)}" for n in CEILING_POINTS)
    estimates = MEASURED.format(
        algorithm=PROTOCOLS["standard"].algorithm,
        torch=version("torch").split("+")[0],
        skdim=version("scikit-dimension"),
        n=f"{N_POINTS:,}",
        two_nn_error=100 / math.sqrt(N_POINTS),
        population=f"{N_POPULATION:,}",
        ours=ours,
        theirs=theirs,
        globals=globals_,
        ceilings=ceilings,
        draws=f"{n_draws:,}",
        tokens=coverage.TOKENS_PER_SEQUENCE,
        coverage=covered,
        verdict=coverage.verdict(covered),
        shortest=coverage.SHORTEST,
        longest=coverage.LONGEST,
        hard=hard,
        hard_verdict=coverage.verdict(hard),
        report_draws=report_draws,
        reported=coverage.table_of_reports(report_draws),
    ) + others(n_draws)
    return f"{estimates}\n{bench.section(2 * n_draws)}"


def read_from_the_code() -> str:
    return READ_FROM_THE_CODE.format(costs=cost_table(), decisions=decisions())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=N_DRAWS, help="clouds for each line of the coverage table")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "docs" / "accuracy.md")
    parser.add_argument("--costs", action="store_true", help="measure what each estimator costs and print it")
    parser.add_argument("--others", action="store_true", help="measure anew only what is no interval of d2 itself")
    parser.add_argument(
        "--refresh", action="store_true", help="keep what was measured; write costs and thresholds anew"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.costs:
        measured_costs()
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    first = READ_FROM_THE_CODE.lstrip().splitlines()[0]
    if options.refresh or options.others:
        written = options.out.read_text(encoding="utf-8")
        written = with_section(written, others(options.draws), before=first) if options.others else written
        kept = written.split("\n" + first)[0]
    else:
        kept = measured(options.draws)
    options.out.write_text(kept + read_from_the_code(), encoding="utf-8", newline="\n")
    print(f"Written to {options.out}")


if __name__ == "__main__":
    main()
