"""One measurement as plain rows, whether it was just made (records) or is read again (frames)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from core.records import Profile

Row = Mapping[str, Any]
PRIMARY = ("d2", "one_per_type")
WORDS = ("d2", "one_per_word")


@dataclass(frozen=True)
class Measurement:
    """What is told of one run; rows have the columns of their tables."""

    run: Row
    """A row of `runs` with the columns of its model and text, as `queries.runs` joins them."""
    summaries: Sequence[Row]
    estimates: Sequence[Row]
    checks: Sequence[Row]
    correlators: Sequence[Row] = field(default_factory=list)

    def summary(self, estimator: str, cloud: str) -> Row | None:
        rows = (row for row in self.summaries if (row["estimator"], row["cloud"]) == (estimator, cloud))
        return next(rows, None)

    @property
    def primary(self) -> Row | None:
        """The summary that the verdict stands in: of d2 on one point per type, or the only one that there is."""
        return self.summary(*PRIMARY) or next(iter(self.summaries), None)

    def value(self, layer: int, estimator: str, cloud: str, n1: int | None = None, **more: Any) -> Row | None:
        """The estimate at a layer of the residual stream, or None."""
        wanted = {"state": "residual", "transform": "centred", "n1": n1} | more
        for row in self.estimates:
            at = (row["layer"], row["estimator"], row["cloud"])
            if at == (layer, estimator, cloud) and all(row[key] == value for key, value in wanted.items()):
                return row
        return None

    def correlator(self, layer: int, correlator: str, cloud: str) -> float | None:
        for row in self.correlators:
            if (row["layer"], row["correlator"], row["cloud"]) == (layer, correlator, cloud):
                return row["value"]
        return None

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The protocol as it was run; empty where the run does not say."""
        try:
            return json.loads(self.run["config"] or "{}").get("protocol", {})
        except (ValueError, AttributeError):
            return {}


def of_profile(profile: Profile) -> Measurement:
    """A measurement that was just made."""
    return Measurement(
        run={**vars(profile.model), **_corpus(profile), **_fields(profile.run)},
        summaries=_rows(profile.summaries),
        estimates=_rows(profile.estimates),
        checks=_rows(profile.checks),
        correlators=_rows(profile.correlators),
    )


def of_frames(
    run: Row,
    checks: pl.DataFrame,
    estimates: pl.DataFrame,
    correlators: pl.DataFrame | None = None,
    summaries: pl.DataFrame | None = None,
) -> Measurement:
    """A measurement of the warehouse; the run's row holds its summary of d2 on one point per type."""
    own = run["run_id"]
    rows: list[Row] = [] if summaries is None else list(summaries.filter(run_id=own).to_dicts())
    return Measurement(
        run=run,
        summaries=rows or ([run] if run.get("verdict") is not None else []),
        estimates=estimates.filter(run_id=own).to_dicts(),
        checks=checks.filter(run_id=own).to_dicts(),
        correlators=[] if correlators is None else correlators.filter(run_id=own).to_dicts(),
    )


def _rows(records: Iterable[Any]) -> list[Row]:
    return [_fields(record) for record in records]


def _fields(record: Any) -> dict[str, Any]:
    """Columns of a record: a trailing underscore only avoids a keyword."""
    return {name.rstrip("_"): value for name, value in vars(record).items()}


def _corpus(profile: Profile) -> dict[str, Any]:
    corpus = profile.corpus
    return {"corpus_name": corpus.name, "corpus_language": corpus.language, "corpus_domain": corpus.domain}
