"""Frozen records that are passed between the layers of Workdim, one per idea.

The rows that the warehouse stores are in `core.tables`.
"""

# No postponed annotations here: see core.tables.columns.
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar, get_args

import polars as pl

from core.errors import N_ as _
from core.errors import InputError, unknown_name
from core.registry.protocols import Setting
from core.tables import (
    LONG_TABLES,
    TABLES,
    CorpusRow,
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    LayerSeedRow,
    ModelRow,
    PlanOutcomeRow,
    PlanRow,
    RunCheckRow,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunRow,
    RunSummaryRow,
    RunWindowRow,
    TokenResultRow,
    frame,
    records,
)

T = TypeVar("T")
Dtype = Literal["float32", "bfloat16", "float16"]
"""Number format of the measured network."""
DTYPES: tuple[str, ...] = get_args(Dtype)
DEVICES = r"auto|cpu|mps|cuda(:\d+)?"
"""Pattern of a device name."""


# --- requests --------------------------------------------------------------------------------------------------


SHIPPED = "reference"
"""Tag of the profiles that ship with Workdim, which are not the user's own measurements."""
EARLIER, DAMAGED = "earlier checkpoint", "damaged"
"""Tags of shipped profiles that are not complete models: a training checkpoint, or a network damaged on purpose."""
LOCAL = "local:"
"""Prefix of a folder or a GGUF file: the warehouse's name for a model on this disk."""
TEXT_FILES = (".txt", ".md", ".jsonl", ".json", ".csv", ".parquet")
"""What a text may be read from."""


def _require_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise InputError("The seed must be 0 or more and below 2^63, not {seed}.", seed=seed)


@dataclass(frozen=True)
class RunConfig:
    """One measurement as the user requested it."""

    model: Annotated[str, Setting(_("model as asked for"))]
    corpus: Annotated[str, Setting(_("text as asked for"))] = "python-docs"
    protocol: Annotated[str, Setting(_("protocol as asked for"))] = "quick"
    column: Annotated[str | None, Setting(_("column"))] = None
    encoding: Annotated[str, Setting(_("encoding"))] = "utf-8"
    seed: Annotated[int, Setting(_("seed as asked for"))] = 0
    dtype: Annotated[str, Setting(_("number format as asked for"))] = "float32"
    device: Annotated[str, Setting(_("device as asked for"))] = "auto"
    pass_: Annotated[str, Setting(_("pass as asked for"))] = "text"
    """`text`, or a control: a key of `core.registry.protocols`."""
    model_seed: Annotated[int, Setting(_("seed of random weights as asked for"))] = 0
    """Seed of the weights, if those of the pass depend on one."""
    stack: Annotated[str | None, Setting(_("blocks as asked for"))] = None
    """`encoder` or `decoder` of an encoder-decoder; None means its encoder."""
    companions: Annotated[tuple[str, ...], Setting(_("measured together with"))] = ()
    """Models to compare this one with across tokenizers: the words are chosen for all of them."""
    memory_budget: Annotated[int | None, Setting(_("memory budget"), unit="bytes")] = None
    """Bytes that the measurement may use; None leaves a share of the free memory to others."""
    estimators: Annotated[tuple[str, ...], Setting(_("estimators asked for besides"))] = ()
    """Estimators of the registry to run on `one_per_type`, in addition to those of the protocol."""
    controls: Annotated[bool, Setting(_("control passes asked for"))] = False
    """Measure the control passes even if the protocol has none."""
    keep_tokens: Annotated[bool, Setting(_("results of single tokens kept"))] = False
    """Keep per-token results in the parcel, not only their distributions."""
    chat: Annotated[str, Setting(_("chat messages read by"))] = "template"
    """How chat messages are read: with the model's own `template`, or `plain`, their contents alone."""

    labels: Annotated[str | None, Setting(_("labelled texts asked for"))] = None
    """Path of a file of labelled texts that every layer is probed with."""
    labels_sha256: Annotated[str | None, Setting(_("hash of the labelled texts (SHA-256)"))] = None

    def __post_init__(self) -> None:
        _require_seed(self.seed)

    @property
    def what(self) -> tuple[str, str]:
        """What the model reads, and how: the text and the protocol."""
        return self.corpus, self.protocol


SCORING = "score"
"""Name of a scoring among the protocols of jobs, and of the phase in which the model answers."""


@dataclass(frozen=True)
class ScoreConfig:
    """One model on one task of the user, as requested."""

    model: str
    task: str
    """Path of the task file."""
    task_sha256: str
    """Hash of its questions: a file with other questions is another request."""
    dtype: str = "float32"
    device: str = "auto"
    memory_budget: int | None = None
    """Bytes that the scoring may use; None leaves a share of the free memory to others."""

    @property
    def what(self) -> tuple[str, str]:
        """What the model reads, and how: the task file, and that it is scored."""
        return self.task, SCORING


BUDGET_UNITS = ("nats", "points")
PLANNING = "plan"
"""Name of a layer plan among the protocols of jobs."""
ABILITIES = ("copying", "brackets", "digit_sums", "task")
"""What a plan must leave at least half of, above chance; reason `falls_...` where it does not."""
AGAINST_PLAN = ("not_verified", *(f"falls_{ability}" for ability in ABILITIES), "over_budget", "no_better_than_random")
"""Reasons against recommending a plan; all others are cautions."""
BUDGETS = {"lossless": 0.0488, "noticeable": 0.2231, "as-published": 0.25}
"""Budgets by name, in nats per token: log 1.05 and 1.25, text that is 5 or 25 percent harder to predict (perplexity); what SLEB (arXiv
2402.09025) gave up for a tenth of LLaMA-2-7B's blocks; for a fifth of them it was `PUBLISHED_FIFTH`."""
PUBLISHED_FIFTH = 0.53


@dataclass(frozen=True)
class PlanConfig:
    """One layer plan as the user requested it."""

    model: str
    corpus: str = "python-docs"
    budget: float = BUDGETS["lossless"]
    budget_unit: str = "nats"
    """`nats` of loss per token, or `points`: percent of the questions of the task."""
    blocks: int | None = None
    """Number of blocks to remove; None removes as many as the budget allows."""
    remove: tuple[int, ...] = ()
    """Blocks chosen by the user, counted from 0, which are only priced; empty: the plan searches for blocks."""
    task: str | None = None
    """File with the user's own questions."""
    task_sha256: str | None = None
    """Hash of its questions: a file with other questions is another request."""
    verify: bool = False
    """Price the plan on held-out text, on harder texts, on probes and against random sets."""
    heal: bool = False
    directions: bool = False
    """Search the rank that each of some layers needs."""
    save_model: str | None = None
    """Folder for the smaller model."""
    column: str | None = None
    encoding: str = "utf-8"
    chat: str = "template"
    seed: int = 0
    dtype: str = "float32"
    device: str = "auto"
    memory_budget: int | None = None
    """Bytes that planning may use; None leaves a share of the free memory to others."""

    def __post_init__(self) -> None:
        _require_seed(self.seed)
        if not 0 <= self.budget < float("inf"):
            raise InputError("The budget must be 0 or more, not {budget:g}.", budget=self.budget)
        if self.budget_unit == "points" and self.task is None:
            raise InputError("A budget in points is for a task: name its file with --task.")
        if self.remove and self.blocks is not None:
            raise InputError("Give --remove (these blocks) or --blocks (so many), not both.")
        if twice := sorted({block for block in self.remove if self.remove.count(block) > 1}):
            raise InputError("--remove names {blocks} twice. Blocks are counted from 0, as on screen.", blocks=twice)

    @property
    def is_verified(self) -> bool:
        """Whether the plan is verified: healing, projecting, saving and a task require it."""
        return self.verify or self.heal or self.directions or self.save_model is not None or self.task is not None

    @property
    def what(self) -> tuple[str, str]:
        """What the model reads, and how: the text, and that it is planned."""
        return self.corpus, PLANNING


def text_budget(asked: PlanConfig | PlanRow) -> float:
    """The budget in nats per token; `lossless` for the search where it is in points of a task."""
    return asked.budget if asked.budget_unit == "nats" else BUDGETS["lossless"]


PLACES = ("model", "corpus", "task", "save_model", "companions", "labels")
"""Fields of a request that may hold folders and files of this machine."""


def from_json(record_class: type[T], record: Mapping[str, Any]) -> T:
    """A record from JSON, which knows no tuples. Raises TypeError for one of another version, with other fields."""
    return record_class(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a request to share: folders and files of this machine keep only their last name."""
    return {key: last_name(value) if key in PLACES else value for key, value in config.items()}


def last_name(reference: Any) -> Any:
    """`model` for /home/who/model, ~/model and C:\\who\\model, also in a list; a name that is not such a path is unchanged."""
    if isinstance(reference, (list, tuple)):
        return type(reference)(map(last_name, reference))
    if not isinstance(reference, str):
        return reference
    windows = PureWindowsPath(reference)  # also splits at /
    is_place = windows.drive or windows.root or reference.startswith(("~", "."))
    return (windows.name or "…") if is_place else reference


# --- estimates before a run --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PassEstimate:
    """Estimated cost of one pass of a measurement."""

    name: str
    """A key of `core.registry.protocols`."""
    known_run: str | None
    """The stored run that already is this control pass, which is then not measured again."""
    seconds: dict[str, float]
    """`load`, `forward`, `geometry`, `layers`, `store` -> seconds; empty if unknown, or if nothing is measured."""
    memory_bytes: int | None
    gpu_memory_bytes: int | None


@dataclass(frozen=True)
class PlanEstimate:
    """Estimated cost of a layer plan, before anything is fetched or loaded. None means not known in advance."""

    model: str
    corpus: str
    passes: float | None = None
    """Passes of the whole model over the windows that candidates are compared on."""
    n_searched: int | None = None
    """Tokens in these windows."""
    seconds: float | None = None
    weight_bytes: int | None = None
    readings: int | None = None
    """How often all weights are read from their files; None if they stay in memory."""
    download_bytes: int | None = None
    """0 if nothing has to be fetched."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preflight:
    """Estimated cost and results of a measurement, before anything is fetched or loaded. None: not known in advance."""

    model: str
    """The reference as requested."""
    corpus: str
    protocol: str
    seed: int
    dtype: str
    """Number format of the measured network."""
    device: str | None = None
    """The device that `auto` resolves to."""
    where: str | None = None
    """`here`, `hub` or `package`; None if there is no such model."""
    name: str | None = None
    architecture: str | None = None
    family: str | None = None
    kind: str | None = None
    stack: str | None = None
    parameters: int | None = None
    n_layers: int | None = None
    hidden_size: int | None = None
    stored_format: str | None = None
    stored_dtype: str | None = None
    licence: str | None = None
    download_bytes: int | None = None
    """0 if nothing has to be fetched."""
    weight_bytes: int | None = None
    """Size on disk after the download."""
    scratch_bytes: int | None = None
    """Disk space for hidden states during a pass."""
    memory_bytes: int | None = None
    """Peak over the passes to measure: all memory of the process that is not backed by a file."""
    gpu_memory_bytes: int | None = None
    streamed: bool | None = None
    """Whether weights are read block by block."""
    batch: int | None = None
    """Windows per forward pass."""
    n_sequences: int | None = None
    n_tokens: int | None = None
    """Tokens in all windows together."""
    n_points: int | None = None
    """Token types in the cloud `one_per_type`, before tokens are masked for their norm."""
    start_seconds: float | None = None
    """Time before the first pass: libraries, configuration, tokenizer, the hash of the weights."""
    seconds: float | None = None
    """Total time without a download."""
    passes: tuple[PassEstimate, ...] = ()
    measured_run: str | None = None
    """The newest run of exactly this measurement in the warehouse."""
    comparable_runs: tuple[str, ...] = ()
    """Other stored runs that it can be compared with on token types."""
    comparable_by_words: tuple[str, ...] = ()
    """Other stored runs that it can be compared with only on words."""
    comparison: str = ""
    """One line: what it compares with, or why with nothing."""
    refusals: tuple[str, ...] = ()
    """Reasons why it cannot be measured, one line each."""
    notes: tuple[str, ...] = ()
    """What cannot be known in advance, and other remarks."""


# --- results ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """One estimated quantity on one point cloud."""

    value: float
    """NaN if the estimator is undefined on these points; stored as NULL."""
    std_error: float = float("nan")
    lower: float = float("nan")
    """Lower end of the 95 percent interval."""
    upper: float = float("nan")
    scale: float = float("nan")
    """Mean distance of the outer neighbour; NaN for global estimators."""
    n_points: int = 0
    n_dropped: int = 0
    """Points left out by the estimator (exact duplicates)."""
    notes: str = ""


@dataclass(frozen=True)
class Progress:
    """Progress of a measurement: `done` of `total` steps of equal cost within a phase."""

    phase: str
    done: int
    total: int


ProgressCallback = Callable[[Progress], None]


PROFILE_TABLES = {table: table.partition("_")[2] for table in LONG_TABLES}
"""Table with many rows per run -> the field of Profile that holds its rows."""


def stretches(blocks: Collection[int]) -> list[tuple[int, int]]:
    """Contiguous stretches of blocks as half-open pairs (first, one past the last), in order."""
    runs: list[tuple[int, int]] = []
    for index in sorted(blocks):
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


@dataclass(frozen=True)
class LayerPlan:
    """One layer plan with all its prices, as stored in its file. Blocks are counted from 0."""

    plan: PlanRow
    outcomes: list[PlanOutcomeRow]

    @classmethod
    def from_frames(cls, tables: Mapping[str, pl.DataFrame]) -> "LayerPlan":
        (plan,) = records(tables["plans"], PlanRow)
        return cls(plan, records(tables["plan_outcomes"], PlanOutcomeRow))

    def frames(self) -> dict[str, pl.DataFrame]:
        """The content of the file, by table."""
        return {"plans": frame([self.plan], PlanRow), "plan_outcomes": frame(self.outcomes, PlanOutcomeRow)}

    @property
    def kept(self) -> list[int]:
        """The blocks that stay: block i of the smaller model is block kept[i] of the whole one."""
        return [block for block in range(self.plan.n_layers) if block not in self.plan.blocks]

    @property
    def decisive_text(self) -> str:
        """The text whose prices decide: held-out text if the plan was verified on it."""
        return "held_out" if self.plan.is_verified else "selection"

    @property
    def price(self) -> PlanOutcomeRow:
        """The price of the plan's final set, healed or not."""
        price = self.own_price(self.plan.is_healed)
        assert price is not None
        return price

    def own_price(self, is_healed: bool) -> PlanOutcomeRow | None:
        """The price of the plan's set with or without healing; None if there is none."""
        prices = (row for row in self.of(self.decisive_text, "loss") if row.is_chosen and row.unit == "block")
        return next((row for row in prices if row.is_healed == is_healed), None)

    def of(self, text: str, measure: str, rule: str | None = None) -> list[PlanOutcomeRow]:
        """Prices on one text, of one rule or of all rules."""
        return [
            row
            for row in self.outcomes
            if (row.text, row.measure) == (text, measure) and (rule is None or row.rule == rule)
        ]


@dataclass(frozen=True)
class Profile:
    """One finished measurement: a row for the run, and rows for all its results.

    A fresh profile and one read from its parcel are the same: an undefined number is None, times are in UTC without a
    zone.
    """

    model: ModelRow
    corpus: CorpusRow
    run: RunRow
    estimates: list[LayerEstimateRow]
    correlators: list[LayerCorrelatorRow]
    replicates: list[LayerReplicateRow]
    checks: list[RunCheckRow]
    pairs: list[LayerPairRow] = field(default_factory=list)
    distributions: list[LayerDistributionRow] = field(default_factory=list)
    tokens: list[TokenResultRow] = field(default_factory=list)
    """Filled only if the run was asked to keep them; they are stored only in the parcel."""
    claims: list[RunClaimRow] = field(default_factory=list)
    extrema: list[RunExtremumRow] = field(default_factory=list)
    controls: list[RunControlRow] = field(default_factory=list)
    summaries: list[RunSummaryRow] = field(default_factory=list)
    windows: list[RunWindowRow] = field(default_factory=list)
    """Only for causal models."""
    seeds: list[LayerSeedRow] = field(default_factory=list)
    """Only for controls that judge."""

    @classmethod
    def from_frames(cls, tables: Mapping[str, pl.DataFrame]) -> "Profile":
        """Build it from the frames of a parcel or of the warehouse, by table; per-token results are left out."""
        (model,), (corpus,), (run,) = (TABLES[name].rows(tables[name]) for name in ("models", "corpora", "runs"))
        many: dict[str, Any] = {name: TABLES[table].rows(tables[table]) for table, name in PROFILE_TABLES.items()}
        return cls(model=model, corpus=corpus, run=run, **many)

    def rows(self, table: str) -> list[Any]:
        """The rows of one of its tables."""
        single: dict[str, Any] = {"models": self.model, "corpora": self.corpus, "runs": self.run}
        if table in single:
            return [single[table]]
        if table not in PROFILE_TABLES:
            raise InputError(unknown_name("table", table, [*single, *PROFILE_TABLES]))
        return list(getattr(self, PROFILE_TABLES[table]))

    def summary(self, cloud: str = "one_per_type") -> RunSummaryRow | None:
        """The shape of d2 on one cloud; None if it was not measured."""
        return next((row for row in self.summaries if (row.estimator, row.cloud) == ("d2", cloud)), None)

    @property
    def worst_check(self) -> str | None:
        """`pass`, `warn` or `veto`; None if no check was made."""
        outcomes = {check.outcome for check in self.checks}
        return next((outcome for outcome in ("veto", "warn", "pass") if outcome in outcomes), None)
