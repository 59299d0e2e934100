"""Requests of jobs, from the choices of a screen; what is read of models before anything is measured: what measurements and
plans will take, and whose tokenizer is readable; requests of a pilot, and of a stored run that is measured again.

What is said of models is read in a process of its own, under limits (core/limits.py): files of others decide what it takes, and pages must
not load the model libraries. The process reads a request as JSON from standard input and answers with estimates or with
the refusal, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from core import errors
from core.errors import CorpusError, InputError, ResourceError, Sentence, WarehouseError
from core.files import default_warehouse, is_locked, lock_path, make_folder, read_json_or_none, try_lock
from core.forecast.times import expected_seconds as expected_seconds
from core.ids import SHORT_ID
from core.limits import anonymous_memory, free_bytes, limit_memory, watched
from core.models.packages import DEMO, JAPANESE_DEMO
from core.pilots.pilot import Pilot, pilot_requests
from core.records import LOCAL, PassEstimate, PlanConfig, PlanEstimate, Preflight, RunConfig, ScoreConfig, from_json
from core.registry.protocols import PROTOCOLS, find_protocol
from core.runs.caches import recover
from core.runs.jobs import Job, JobStatus, StatusCallback, environment, pilot_folder, remove_job, submit
from core.store.parcels import PLACES_FILE
from core.tables import Run, ids_of
from core.texts.corpora import BUILT_IN, open_corpus, read_labels
from core.texts.sample import open_text, require_halves
from core.texts.tasks import read_task
from core.texts.windows import FEWEST_OF_PLAN, SHORTEST_OF_PLAN, Judgement, characters_for_tokens, count_pages, judge
from core.warehouse import people, queries
from core.warehouse.warehouse import Warehouse


def text_names() -> list[str]:
    """The names of the texts that Workdim knows."""
    return list(BUILT_IN)


def judged_text(text: Mapping[str, Any], protocol: str, seed: int) -> Judgement:
    """What a text is, before any model is fetched. Raises CorpusError for one that cannot be measured on."""
    _protocol, corpus = open_text(RunConfig("", **text, protocol=protocol, seed=seed))
    return judge(corpus)


def text_needed(protocol: str | None) -> tuple[int, int, int]:
    """About how much text a protocol needs, or without one a layer plan, which holds half of it out: pages, characters, and
    characters of Chinese, Japanese or Korean."""
    n_windows, n_tokens = 2 * FEWEST_OF_PLAN, SHORTEST_OF_PLAN
    if protocol is not None:
        asked = find_protocol(protocol)
        n_windows, n_tokens = asked.n_sequences, asked.n_tokens
    latin, wide = (n_windows * characters_for_tokens(letter, n_tokens) for letter in ("a", "あ"))
    return count_pages("a", latin), latin, wide


DEMO_LADDER_MODEL = f"{LOCAL}ladder-128-base-step1500"
"""A model of the family trained for Workdim, to be measured in the demo within seconds."""


def demo_requests() -> list[RunConfig]:
    """The requests of the demo: each model on the text of the shipped profiles of its kind, to be compared with them.

    The model with the most shipped profiles comes last, because pages begin with the newest run.
    """
    return [*(RunConfig(f"pypi:{name}") for name in DEMO), RunConfig(DEMO_LADDER_MODEL, corpus="ladder-code")]


def japanese_requests() -> list[RunConfig]:
    """The requests of the Japanese demo."""
    return [RunConfig(f"pypi:{name}", corpus="japanese-business") for name in JAPANESE_DEMO]


def protocol_names() -> list[str]:
    return list(PROTOCOLS)


def scoring_requests(models: Sequence[str], task: Path, **settings: Any) -> list[ScoreConfig]:
    """One request for each distinct model. Raises InputError for an invalid task file."""
    sha256 = read_task(task).sha256
    return [ScoreConfig(model, str(task), sha256, **settings) for model in dict.fromkeys(models)]


def plan_request(config: PlanConfig) -> PlanConfig:
    """The request with the hash of its task. Raises InputError for an invalid task file, CorpusError for a text that is too
    short for a plan of any model."""
    require_halves(open_corpus(config.corpus, config.column, config.encoding, config.chat), config.seed)
    return config if config.task is None else replace(config, task_sha256=read_task(Path(config.task)).sha256)


def with_labels_hash(config: RunConfig) -> RunConfig:
    """The request with the hash of its labelled texts. Raises CorpusError for an invalid file."""
    return config if config.labels is None else replace(config, **labels_of(config.labels))


def labels_of(path: str) -> dict[str, Any]:
    """A file of labelled texts as a request names it. Raises CorpusError for an invalid one."""
    return {"labels": path, "labels_sha256": read_labels(Path(path)).sha256}


def run_requests(models: Sequence[str], **settings: Any) -> list[RunConfig]:
    """One request for each distinct model, with the others as companions."""
    return with_companions(RunConfig("", **settings), list(dict.fromkeys(models)))


def with_companions(
    config: RunConfig, models: Sequence[str], readable: Collection[str] | None = None
) -> list[RunConfig]:
    """One request for each model, with the others as companions, or those of them whose tokenizer is `readable`."""
    others = [name for name in dict.fromkeys(models) if readable is None or name in readable]
    return [
        replace(config, model=model, companions=tuple(name for name in others if name != model)) for model in models
    ]


def expand_request(config: RunConfig) -> list[RunConfig]:
    """The measurements of one request: a protocol may add further draws of the text, and other texts."""
    protocol = find_protocol(config.protocol)
    draws = [replace(config, seed=seed) for seed in protocol.more_seeds if seed != config.seed]
    texts = [
        replace(config, corpus=name, column=None, chat="template")
        for name in protocol.more_corpora
        if name != config.corpus
    ]
    return [config, *draws, *texts]


# --- what is read of models before anything is measured --------------------------------------------------------------

COMMAND = (sys.executable, "-P", "-m", "core.runs.requests")
"""It reads a request as it was typed, in the folder where it was typed; with -P no file of that folder is imported."""
TIMEOUT = 300
"""Seconds that reading configuration, tokenizer and text may take."""


class Stopped(ResourceError):
    """The process exceeded its limits, and was stopped."""


def estimate_plan(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """What the plan will take, from config, tokenizer and text alone; downloads only small files of the hub.

    Raises InputError (and its kinds) for a plan that would be refused.
    """
    from core.forecast.times import known_costs, outline_of, pace_of, plan_seconds
    from core.models.hub import find_model
    from core.models.model import read_blueprint
    from core.plans.setup import check_plan

    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    with find_model(config.model) as source:
        estimate = PlanEstimate(config.model, config.corpus, download_bytes=source.download_bytes, notes=source.notes)
        if source.weights is None:
            return estimate
        blueprint = read_blueprint(source.weights, config.dtype, config.device, None, source.has_tokenizer)
        setup = check_plan(config, corpus, blueprint)
        if not source.has_tokenizer:
            return estimate
        memory, n_searched, n_tokens = setup.memory, setup.search_windows.ids.size, sum(setup.costs().values())
        weight_bytes = setup.blueprint.weightless.row.weight_bytes
        readings = setup.count_weight_reads() if memory.on_demand else None
        estimate = replace(
            estimate, passes=n_tokens / n_searched, n_searched=n_searched, weight_bytes=weight_bytes, readings=readings
        )
        pace = pace_of(known_costs(warehouse), str(blueprint.device))
        if pace is None:
            return estimate
        return replace(
            estimate, seconds=plan_seconds(outline_of(blueprint.weightless.row), n_tokens, readings or 0, pace)
        )


def preflight_cards_from_process(
    configs: Sequence[RunConfig], warehouse: Warehouse, cpus: int | None = None
) -> list[Preflight]:
    """One card for each measurement, from a process of its own. Where that was stopped, its card says so, as any refusal.

    `cpus`: those of a job that runs elsewhere; by default as many as one here has. Raises InputError for the same requests.
    """
    try:
        records = errors.from_record(_run_process("cards", [asdict(config) for config in configs], warehouse, cpus))
    except Stopped as error:
        if len(configs) > 1:  # one of them is the cause: each by itself
            return [card for config in configs for card in preflight_cards_from_process([config], warehouse, cpus)]
        (config,) = configs
        known = config.model, config.corpus, config.protocol, config.seed, config.dtype
        return [Preflight(*known, refusals=(error.message,))]
    return [
        from_json(Preflight, record | {"passes": tuple(PassEstimate(**one) for one in record["passes"])})
        for record in records
    ]


def plan_estimate_from_process(config: PlanConfig, warehouse: Warehouse) -> PlanEstimate:
    """`estimate_plan` in a process of its own. Raises InputError for the same requests."""
    return from_json(PlanEstimate, errors.from_record(_run_process("plan", asdict(config), warehouse)))


def with_readable_companions(config: RunConfig, models: Sequence[str], warehouse: Warehouse) -> list[RunConfig]:
    """As `with_companions`, but a model whose tokenizer cannot be read is no companion; its own request fails later.

    Raises InputError for a text that no model can be measured on, before models are fetched for their tokenizers.
    """
    asked = list(dict.fromkeys(models))
    return with_companions(config, models, readable_models(asked, [config], warehouse) if asked[1:] else None)


def readable_models(models: list[str], texts: Sequence[RunConfig], warehouse: Warehouse) -> list[str]:
    """The models whose tokenizer can be read, which are downloaded for it, if any; `texts` are the requests with each text once.

    Raises InputError if none of the texts can be measured on, before any model is fetched.
    """
    try:
        return _run_process("readable", {"models": models, "texts": [asdict(text) for text in texts]}, warehouse)
    except Stopped:
        return [one for model in models for one in readable_models([model], texts, warehouse)] if models[1:] else []


def _run_process(kind: str, request: Any, warehouse: Warehouse, cpus: int | None = None) -> Any:
    """The answer of a process of its own, as JSON. Raises InputError if it refuses the request or takes too long, Stopped
    if it exceeded its limits."""
    is_download = kind == "readable"  # which takes its time and shows its progress
    with tempfile.TemporaryDirectory(prefix="workdim-") as folder:
        reason_file = Path(folder) / "reason.json"
        try:
            completed = subprocess.run(
                [*COMMAND, kind, str(reason_file)],
                env=environment(warehouse) | ({"OMP_NUM_THREADS": str(cpus)} if cpus else {}),
                input=json.dumps(request),
                stdout=subprocess.PIPE,
                stderr=None if is_download else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=None if is_download else TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                "There is no estimate after {patience} seconds: machine or network are busy.", patience=TIMEOUT
            ) from error
        stopped = read_json_or_none(reason_file)
    if stopped:
        raise Stopped(errors.from_record(stopped["told"]))
    try:
        answer = json.loads(completed.stdout)
        if "refused" in answer:
            raise InputError(errors.from_record(answer["refused"]))
        return answer["takes"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("No estimate came back.") from error


# --- a pilot ---------------------------------------------------------------------------------------------------------

Engine = Callable[[Sequence[Job], StatusCallback], Iterator[JobStatus]]
"""Runs jobs and yields each as it ends."""


@dataclass(frozen=True)
class RequestOutcome:
    """The outcome of one request of a pilot."""

    config: RunConfig
    state: str
    """`finished`, or `failed`, `interrupted` or `cancelled`."""
    run_id: str | None = None
    reason: str = ""
    was_known: bool = False
    notes: tuple[str, ...] = ()
    """Control passes that could not be measured, and why the result could not be ingested yet."""


def run_pilot(
    pilot: Pilot, warehouse: Warehouse, engine: Engine, on_status: StatusCallback
) -> Iterator[RequestOutcome]:
    """Register the pilot and measure what it lacks; yields each outcome. A failure does not stop the others.

    Raises InputError if the pilot is running already, or was registered with other scores.
    """
    warehouse.prepare()
    recover(warehouse)
    with _pilot_lock(pilot, warehouse):
        people.register_pilot(warehouse, pilot)
        jobs = []
        for config in _requests(pilot, warehouse):
            try:
                run_id = _find_local_run(config, warehouse)
                if run_id is None:
                    jobs.append(submit(config, warehouse, pilot.pilot_id))
            except InputError as error:
                yield RequestOutcome(config, "failed", reason=str(error))
                continue
            if run_id:
                people.add_runs(warehouse, pilot.pilot_id, [run_id])
                yield RequestOutcome(config, "finished", run_id, was_known=True)
        for ended in engine(sorted(jobs, key=lambda job: job.job_id), on_status):
            yield _request_outcome(ended, pilot, warehouse)


def _find_local_run(config: RunConfig, warehouse: Warehouse) -> str | None:
    """The newest run of a local model that is requested by its name in the warehouse: its files need not be here. Raises
    ModelError if neither is, before a process is started for it."""
    if not config.model.startswith(LOCAL):
        return None
    protocol_hash = find_protocol(config.protocol).hash(config.seed)
    runs = queries.ranking(warehouse, protocol_hash=protocol_hash)
    matches = runs.filter(reference=config.model, corpus_name=config.corpus, dtype=config.dtype)
    if matches.is_empty():
        from core.models.hub import local_weights

        local_weights(config.model)
        return None
    return ids_of(matches)[0]


def _requests(pilot: Pilot, warehouse: Warehouse) -> list[RunConfig]:
    """Every measurement of the pilot. Raises InputError if none of its texts is long enough, before any model is fetched."""
    models = list(dict.fromkeys(model.asked for model in pilot.models))
    texts = {(part.corpus, part.seed): part for part in pilot_measurements(pilot)}
    companions = models if len(models) > 1 else []
    return pilot_measurements(pilot, readable_models(companions, list(texts.values()), warehouse))


def pilot_measurements(pilot: Pilot, readable: Collection[str] | None = None) -> list[RunConfig]:
    """Every measurement of the pilot, each once; `readable` are the models whose tokenizers can be read."""
    return list(dict.fromkeys(part for request in pilot_requests(pilot, readable) for part in expand_request(request)))


def _request_outcome(status: JobStatus, pilot: Pilot, warehouse: Warehouse) -> RequestOutcome:
    """Record the result of a job that has ended. Finished jobs are removed; the others stay, to be resumed."""
    config = status.job.config
    if status.state != "finished":
        ended = Sentence("The process of {model} was ended from outside; out of memory?", model=config.model)
        reason = status.reason or (ended if status.state == "interrupted" else "")
        return RequestOutcome(config, status.state, reason=reason)
    result = status.result
    notes = [*result.get("failed", ()), *filter(None, [result.get("waits")])]
    try:
        if result.get("was_known"):  # a new run has the pilot's id already
            people.add_runs(warehouse, pilot.pilot_id, [result["run_id"]])
        remove_job(status.job)
    except WarehouseError as error:  # the job stays and is finished the next time
        notes.append(str(error))
    return RequestOutcome(
        config, "finished", result["run_id"], was_known=bool(result.get("was_known")), notes=tuple(notes)
    )


def require_pilot_idle(pilot: Pilot, warehouse: Warehouse) -> None:
    """Raises InputError if the pilot is running."""
    if is_locked(pilot_folder(warehouse.jobs, pilot.pilot_id)):
        raise _already_running(pilot)


@contextmanager
def _pilot_lock(pilot: Pilot, warehouse: Warehouse) -> Iterator[None]:
    """Hold the pilot's lock; meanwhile its jobs that were not started yet count as queued.

    Raises InputError if the pilot is running already.
    """
    make_folder(warehouse.jobs)
    with try_lock(lock_path(pilot_folder(warehouse.jobs, pilot.pilot_id)), timeout=1) as is_held:
        if not is_held:
            raise _already_running(pilot)
        yield


def _already_running(pilot: Pilot) -> InputError:
    return InputError("The pilot {pilot} is at work already: `workdim jobs` shows how far.", pilot=pilot.name)


# --- a stored run, measured again ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rerun:
    """A request to measure a stored run again."""

    config: RunConfig
    changed: tuple[str, ...]
    """One line for each change since: the new run will then differ from the old one."""


def rerun_request(warehouse: Warehouse, record: Run) -> Rerun:
    """The request that measures a run again, and what has changed since; `record` is a row of `queries.run_records`.

    Folders and files are those of this machine, if it was measured here: a record has their names alone.

    Raises InputError for a control pass, for a record of another version, and if the model, the text or the labelled
    texts are gone.
    """
    if record.pass_ != "text":
        raise InputError(
            "Run {run} is a control pass. Measure the run that it belongs to: {parent}.",
            run=record.run_id[:SHORT_ID],
            parent=[record.parent_run_id[:SHORT_ID]] if record.parent_run_id else [],
        )
    try:
        stored = json.loads(record.config)["run"]
        places = read_json_or_none(warehouse.parcels / record.run_id / PLACES_FILE) or {}
        config = from_json(RunConfig, stored | places)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "Run {run} is of Workdim {version} and cannot be repeated. Measure anew; `workdim runs show {run}` tells what was asked.",
            run=record.run_id[:SHORT_ID],
            version=record.code_version,
        ) from error
    pinned = with_labels_hash(replace(config, model=_pinned_model(config.model, record)))
    return Rerun(pinned, tuple(_changes(pinned, config.labels_sha256, record)))


def _pinned_model(model: str, record: Run) -> str:
    """The model at the revision that was measured; a local folder or file has no revision."""
    is_local = not model.startswith("pypi:") and (Path(model).is_absolute() or Path(model).exists())
    return model if is_local else f"{record.reference}@{record.revision}"


def _changes(config: RunConfig, labels_sha256: str | None, record: Run) -> Iterator[str]:
    """One line for each of weights, text, protocol and labelled texts that has changed since."""
    from core.models.hub import local_weights  # torch: only where a run is measured again

    local = None if config.model.startswith("pypi:") else local_weights(config.model)
    text = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    protocol = PROTOCOLS.get(config.protocol)
    if protocol is None:
        raise InputError(
            "The protocol {protocol} of run {run} is no longer there.",
            protocol=config.protocol,
            run=record.run_id[:SHORT_ID],
        )
    for what, name, before, now in (
        (Sentence("model"), config.model, record.weights_sha256, local.sha256 if local else record.weights_sha256),
        (Sentence("text"), config.corpus, record.corpus_sha256, text.row.sha256),
        (Sentence("protocol"), config.protocol, record.protocol_hash, protocol.hash(config.seed)),
        (Sentence("file"), config.labels, labels_sha256, config.labels_sha256),
    ):
        if before != now:
            yield Sentence(
                "The {what} {name} has changed since: its hash was {before}, now {now}.",
                what=what,
                name=name,
                before=str(before)[:12],
                now=str(now)[:12],
            )


# --- the process that reads models -----------------------------------------------------------------------------------


def main() -> None:
    """Answer the request on standard input: a layer plan, a list of measurements, or one of models."""
    kind, reason_file, request = sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin)
    output = sys.stdout
    sys.stdout = sys.stderr  # standard output is for the answer only, not for what libraries print
    room = free_bytes()
    reason = Sentence(
        "The estimate exceeded the free {size:.2f} GB of memory and was stopped. Close programs, or choose a smaller model.",
        size=room / 1e9,
    )
    try:
        with watched(reason_file), limit_memory(anonymous_memory() + room, reason):
            takes = answer(kind, request)
    except InputError as error:
        output.write(json.dumps({"refused": errors.to_record(error.message)}))
    else:
        output.write(json.dumps({"takes": takes}))


def answer(kind: str, request: Any) -> Any:
    warehouse = Warehouse(default_warehouse())
    if kind == "plan":
        return errors.to_record(asdict(estimate_plan(from_json(PlanConfig, request), warehouse)))
    if kind == "cards":
        from core.forecast.preflight_card import estimate

        return errors.to_record([asdict(estimate(from_json(RunConfig, record), warehouse)) for record in request])
    refusals = list[CorpusError]()
    for text in request["texts"]:
        try:
            open_text(from_json(RunConfig, text))
            break
        except CorpusError as error:
            refusals.append(error)
    else:
        raise refusals[0]
    if not request["models"]:
        return []
    from core.measure.plan import with_readable_tokenizer

    return with_readable_tokenizer(request["models"])


if __name__ == "__main__":
    main()
