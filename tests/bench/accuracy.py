"""`python -m tests.bench.accuracy`: how far each estimator is from what it estimates, written into docs/accuracy.

Everything is seeded. docs/accuracy.md says in words what came out. `--costs` prints what each estimator costs instead, as the records in core.registry.estimators have it.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import numpy as np
import torch

from core.geometry.estimators import ESTIMATORS
from core.registry import estimators
from tests.bench import coverage, relations
from tests.bench.coverage import keep, table
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
        last = ["median / largest error", *[typical(errors[n]) for n in names]]
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


# --- the tables ----------------------------------------------------------------------------------------------------


def measure(n_draws: int) -> None:
    for name, lines in zip(("neighbours", "scikit_dimension", "global"), manifold_tables(), strict=True):
        keep(name, lines)
    for n in CEILING_POINTS:
        keep(f"ceiling_{n}", ceiling_table(n))
    keep("intervals", coverage.table_of_clouds(coverage.ORDINARY, n_draws))
    keep("intervals_hard", coverage.table_of_clouds(coverage.HARD, n_draws))
    keep("intervals_reported", coverage.table_of_reports(n_draws // 5))  # they take longer
    keep("intervals_others", coverage.table_of_others(coverage.OTHERS, n_draws))
    for name, made in relations.PARTS.items():
        keep(name, made(2 * n_draws))


def read_from_the_code() -> dict[str, str]:
    """The tables that are no measurement: what estimators cost, and every threshold."""
    return {"costs": cost_table(), "thresholds": table(["part", "threshold"], decisions())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=N_DRAWS, help="clouds for each line of the coverage table")
    parser.add_argument("--costs", action="store_true", help="measure what each estimator costs and print it")
    parser.add_argument("--refresh", action="store_true", help="measure nothing; write costs and thresholds anew")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.costs:
        measured_costs()
        return
    if not options.refresh:
        measure(options.draws)
    for name, lines in read_from_the_code().items():
        keep(name, lines)


if __name__ == "__main__":
    main()
