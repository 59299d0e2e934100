"""`ESTIMATORS`: every estimator by name, as a function of points alone.

`ESTIMATORS["two_nn"](points)` takes any (n_points, n_dims) float tensor or array and returns an `Estimate`. Errors come
from a jackknife that recomputes the estimate without each block of sequences. It is slower than the shared tables of
core.geometry.layer and independent of them. core.registry.estimators lists the estimators and their formulas; those of
scikit-dimension are read here.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import EstimateError, Sentence, unknown_name
from core.files import write_atomic
from core.geometry.clouds import (
    MIN_POINTS,
    N_DIMS,
    N_POINTS,
    TABLE,
    LabelledPoints,
    Reading,
    centred,
    distinct_points,
    gaussian_curves,
    log_interval,
    within_bounds,
)
from core.geometry.neighbours import readings_of_points, sums_over_centres
from core.records import Estimate
from core.registry import estimators

N_BLOCKS = 16


def _estimate(
    record: estimators.Estimator, points, sequences=None, n_blocks: int | None = N_BLOCKS, *, types=None, **options
) -> Estimate:
    """Run an estimator's formula on points, with a block jackknife.

    points (n_points, n_dims); sequences (n_points,) integers, or None for independent points. Raises EstimateError for
    fewer than three points. A cloud without spread, or with fewer than three distinct points, gets NaN and a note.
    Blocks are groups of consecutive sequences; `n_blocks` None or 0 skips the error.
    """
    formula = _formula(record, options)
    cloud = _labelled(record.key, points, sequences, types)
    n = len(cloud.points)
    n_distinct = int(distinct_points(centred(cloud.points)).sum())
    if n_distinct < MIN_POINTS:
        note = f"{n_distinct} distinct of {n} points: {record.key} needs at least {MIN_POINTS}"
        return Estimate(math.nan, n_points=n_distinct, n_dropped=n - n_distinct, notes=note)
    reading = formula(cloud)
    notes = [] if sequences is not None else ["independent points assumed"]
    replicates, two, centres = [], None, None
    if n_blocks:
        blocks = _blocks(cloud.sequences, n_blocks, shuffled=sequences is None)
        numbers = range(int(blocks.max()) + 1)
        if len(numbers) > 1:
            replicates = [formula(cloud.where(blocks != b)).value for b in numbers]
            if record.without_two:
                two = _function(record.without_two)(cloud.points, blocks)
            if reading.terms is not None:
                of_block = torch.nn.functional.one_hot(blocks).T.bool().cpu().numpy()
                centres = sums_over_centres(reading.terms, of_block, reading.rank)
        else:
            notes.append("one sequence: no error")
    else:
        notes.append("no error estimated: ask for n_blocks")
    bare = Estimate(
        reading.value,
        scale=reading.scale,
        n_points=n - reading.n_dropped,
        n_dropped=reading.n_dropped,
        notes="; ".join(filter(None, [*notes, reading.notes])),
    )
    found = log_interval(bare, replicates, without_two=two, with_bias=record.with_bias, centres=centres)
    return within_bounds(found, cloud.points.shape[1])


def _formula(record: estimators.Estimator, options: dict[str, Any]) -> Callable[[LabelledPoints], Reading]:
    formula = partial(_function(record.function), **(dict(record.arguments) | options))
    return partial(_without_copies, formula) if record.without_copies else formula


def _function(address: str) -> Callable[..., Any]:
    module, function = address.split(":")
    return getattr(importlib.import_module(f"core.geometry.{module}"), function)


def _without_copies(formula: Callable[[LabelledPoints], Reading], cloud: LabelledPoints) -> Reading:
    """Apply the formula to the points without exact copies, which are counted as dropped."""
    kept = distinct_points(cloud.points)
    n_kept = int(kept.sum())
    reading = formula(cloud.where(kept)) if n_kept >= MIN_POINTS else Reading(math.nan)
    if reading.terms is not None:
        of_all = np.full(len(cloud.points), np.nan)
        of_all[kept.cpu().numpy()] = reading.terms
        reading = reading._replace(terms=of_all)
    return reading._replace(n_dropped=len(cloud.points) - n_kept)


def _labelled(name: str, points, sequences, types) -> LabelledPoints:
    points = torch.as_tensor(np.asarray(points) if not isinstance(points, Tensor) else points).float()
    if points.ndim != 2 or len(points) < MIN_POINTS or not bool(torch.isfinite(points).all()):
        raise EstimateError(
            "{name} needs an array of {min_points} or more finite points, not {shape}. Drop missing values or add points.",
            name=name,
            min_points=MIN_POINTS,
            shape=str(tuple(points.shape)),
        )

    def labels(values, what: Sentence) -> Tensor:
        values = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if values.shape != (len(points),):
            raise EstimateError(
                "{name} needs one {what} for each of {n_points} points, not {shape}.",
                name=name,
                what=what,
                n_points=len(points),
                shape=str(tuple(values.shape)),
            )
        return torch.from_numpy(np.unique(values, return_inverse=True)[1]).to(points.device)

    own = torch.arange(len(points), device=points.device)
    return LabelledPoints(
        points,
        own if sequences is None else labels(sequences, Sentence("sequence")),
        None if types is None else labels(types, Sentence("type")),
    )


def _blocks(sequences: Tensor, n_blocks: int, shuffled: bool) -> Tensor:
    """Block number of each point; independent points have no meaningful order, so their blocks are shuffled."""
    n_labels = int(sequences.max()) + 1
    blocks = sequences * min(n_blocks, n_labels) // n_labels
    if shuffled:
        blocks = blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(0)).to(blocks.device)]
    return blocks


# --- scikit-dimension ---------------------------------------------------------------------------------------------


def read_scikit_dimension(cloud: LabelledPoints, class_name: str, options: Mapping[str, Any]) -> Reading:
    """Run a class of `skdim.id` on points without exact duplicates: an independent implementation, or a further estimator.

    None of them takes sequences into account. NaN if the package rejects the points or finds no dimension; the notes give
    the reason.
    """
    import skdim  # imported here because it loads half of scikit-learn

    array = cloud.points.cpu().numpy().astype(np.float64)
    model = getattr(skdim.id, class_name)(**options, **_sized(class_name, *array.shape))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = float(model.fit(array).dimension_)
        except Exception as error:  # third-party code: any error it raises becomes the note
            return Reading(math.nan, notes=f"scikit-dimension {class_name}: {type(error).__name__}: {error}")
    if math.isfinite(value):
        return Reading(value)
    return Reading(math.nan, notes=f"scikit-dimension {class_name} found no dimension")


def _sized(class_name: str, n_points: int, n_dims: int) -> dict[str, Any]:
    """Options that depend on the size of the cloud: `D` caps MiND_ML, and KNN by default would use 6 points."""
    if class_name == "MiND_ML":
        return {"D": min(n_dims, n_points)}
    if class_name == "KNN":
        return {"ps": np.linspace(n_points // 10, n_points // 2, 5).astype(int), "M": 5}
    if class_name == "DANCo":
        return {"D": min(n_dims, 100)}
    return {}


# --- by name ------------------------------------------------------------------------------------------------------


class _ByName(dict[str, Callable[..., Estimate]]):
    """A dictionary that raises EstimateError for an unknown name, listing similar and all available names."""

    def __missing__(self, name: str) -> Callable[..., Estimate]:
        raise EstimateError(unknown_name("estimator", name, self))


ESTIMATORS = _ByName(
    {
        name: partial(_estimate, record, n_blocks=None) if record.package else partial(_estimate, record)
        for name, record in estimators.ESTIMATORS.items()
    }
)
"""Name -> function(points, sequences=None, n_blocks=16) -> Estimate.

`gride_8` is GRIDE at ranks 8 and 16; `gride` is the same with the whole scan in its notes. `d2_typed` requires types=,
`local_d2` takes k=. The `skdim_` estimators come from scikit-dimension and return an error only if n_blocks is given.
"""


# --- the table of isotropic Gaussian clouds --------------------------------------------------------------------------

COLUMNS = ("estimator", "n1", "n_points", "n_dims", "value", "std_error", "n_clouds")


POINTS_PER_CELL = 16_384
"""Total points per cell, over repeated clouds: about 1 percent error for GRIDE at ranks 8 and 16."""


def calibrate_gaussian(progress=lambda done, total: None) -> list[dict[str, object]]:
    """Recompute the rows of the table; seeded, so identical on every machine up to round-off."""
    rows: list[dict[str, object]] = []
    cells = [(n, d) for n in N_POINTS for d in N_DIMS]
    for done, (n_points, n_dims) in enumerate(cells):
        progress(done, len(cells))
        readings: dict[tuple[str, int], list[float]] = {}
        n_clouds = max(2, POINTS_PER_CELL // n_points)
        for number in range(n_clouds):
            generator = torch.Generator().manual_seed(n_points * 1_000_003 + n_dims * 1009 + number)
            for r in readings_of_points(torch.randn(n_points, n_dims, generator=generator)):
                readings.setdefault((r.estimator, r.n1 or 0), []).append(r.value)
        for (estimator, n1), values in readings.items():
            error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
            mean, error = round(float(np.mean(values)), 4), round(error, 4)
            rows.append(dict(zip(COLUMNS, (estimator, n1, n_points, n_dims, mean, error, len(values)), strict=True)))
    progress(len(cells), len(cells))
    return rows


def write_table(rows: list[dict[str, object]], path: Path = TABLE) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, table.getvalue().encode())
    gaussian_curves.cache_clear()
