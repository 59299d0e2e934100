"""Populations for tests of answers and decisions: models that were never trained, whose numbers are chosen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from pathlib import Path

import polars as pl

from core.analysis.criteria import Candidate, CriterionValue, ResolvedCriterion
from core.pilots.pilot import Benchmark, Pilot, PilotModel, PilotText, RegisteredPilot, read_pilot
from core.pilots.saved import Criterion
from core.questions.ranking_question import Evidence
from core.registry.protocols import PROTOCOLS
from core.store import parcels
from core.tables import ScoreRow
from core.warehouse import stored_scores
from core.warehouse.warehouse import Warehouse
from tests import frames
from tests.frames import Model
from tests.profiles import make_corpus, make_model, make_profile
from tests.warehouse.score_files import score_file

ROOT = Path(__file__).resolve().parents[1]
N = 24
REGISTERED_AT = datetime(2026, 11, 20, 12, 0)
BENCHMARK = Benchmark("tickets", "acc", "Smaller goes with better.", date(2026, 11, 20), True, sign="negative")


def models(n: int = N, **changes) -> list[Model]:
    """`m00`, `m01`, ... with largest inner dimensions 50, 52, ..."""
    return [Model(f"m{at:02d}", peak=50.0 + 2 * at, **changes) for at in range(n)]


def scores(values: Sequence[float | None], **changes) -> pl.DataFrame:
    """One score for each model, in their order; None: it has none."""
    fields = {"benchmark": "tickets", "as_of": "2026-11-24", "std_error": 0.5} | changes
    return frames.scores(
        *(frames.score(f"hub:m{at:02d}", value, **fields) for at, value in enumerate(values) if value is not None)
    )


def falling(n: int = N) -> list[float]:
    """Scores that fall as the dimension rises, with neighbours exchanged now and then."""
    return [80.0 - at + 2.5 * (at % 3) for at in range(n)]


def unrelated(n: int = N, seed: int = 5) -> list[float]:
    values = [40.0 + at for at in range(n)]
    random.Random(seed).shuffle(values)
    return values


def pilot(n: int = N, **changes) -> Pilot:
    named = tuple(PilotModel(f"hub:m{at:02d}") for at in range(n))
    made = Pilot("Tickets", "Which one?", "general", named, (PilotText("python-docs"),), BENCHMARK)
    return replace(made, **changes)


def registered(of: Pilot, at: datetime = REGISTERED_AT) -> RegisteredPilot:
    return RegisteredPilot(of.pilot_id, of, at)


def evidence(of: Sequence[Model], scored: pl.DataFrame, *pilots: RegisteredPilot, **more) -> Evidence:
    return Evidence(frames.runs(*of), scored, pilots=pilots, **more)


@cache
def ladder() -> Pilot:
    """The pilot that comes with Workdim."""
    return read_pilot(ROOT / "data" / "pilots" / "ladder.toml", PROTOCOLS, ("ladder-code",))


def ladder_score(reference: str, value: float, **more) -> ScoreRow:
    fields = {"metric": "bits_per_byte", "unit": "bits per byte", "higher_is_better": False, "std_error": 0.004}
    row = frames.score(reference, value, benchmark="ladder_code", as_of="2026-11-27", source="made up", n_shot=None)
    return replace(row, **(fields | more))


def ladder_warehouse(path: Path, bits: Sequence[float | None]) -> Warehouse:
    """The 24 models of the shipped pilot with dimensions 30, 31, ... and these bits per byte, in the pilot's order; and
    a model of another tokenizer on another text."""
    warehouse = Warehouse(path)
    named = [model.reference for model in ladder().models]
    for at, reference in enumerate(named):
        model = make_model(
            f"{reference}@{at:012x}", name=reference.removeprefix("local:"), tokenizer_hash="ladder", family="llama"
        )
        _write(warehouse, at, model=model, corpus=make_corpus("ladder-code-0123456789ab"), peak=30.0 + at)
    other = make_model("made-up/other@1", name="other", tokenizer_hash="another", repository="made-up/other")
    _write(warehouse, 90, model=other, peak=70.0)
    warehouse.rebuild()
    rows = [ladder_score(name, value) for name, value in zip(named, bits, strict=False) if value is not None]
    if rows:
        stored_scores.store_import(warehouse, score_file(*rows, name="ladder.csv"))
    return warehouse


def _write(warehouse: Warehouse, at: int, **given) -> None:
    run_id = f"01900000-0000-7000-8000-0000000000{at:02d}"
    parcels.write_parcel(warehouse.parcels / run_id, make_profile(run_id, **given))


# --- what is chosen among ------------------------------------------------------------------------------------------


SCORE = {"benchmark": "made-up", "metric": "acc", "filter": "none", "n_shot": 0, "suite": "s"}


def exact(value: float) -> CriterionValue:
    return CriterionValue(value, value, value)


def asked(of: str = "score", weight: float = 1.0, **more) -> ResolvedCriterion:
    criterion = Criterion(of, weight=weight, **more)
    return ResolvedCriterion(criterion, criterion.of in ("score", "speed"), SCORE if of == "score" else None)


def candidate(name: str, *readings: CriterionValue | None) -> Candidate:
    return Candidate(f"run-{name}", f"{name}@1", name, readings)


THREE = [
    candidate("large", exact(90), exact(4e9)),
    candidate("middle", exact(80), exact(1e9)),
    candidate("small", exact(50), exact(1e8)),
]
