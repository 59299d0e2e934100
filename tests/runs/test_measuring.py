"""A measurement lands whole or leaves nothing behind: real small models, a real warehouse, real kills."""

import errno
import json
import math
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import polars as pl
import pytest
import torch
from filelock import FileLock
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from core.analysis.shape import judge_profile
from core.errors import CorpusError, EstimateError, ModelError, ResourceError, WarehouseError
from core.ids import SHORT_ID
from core.measure.checkpoint import RESOURCES_FILE
from core.measure.profile import SeedMeasurer, measure_profile
from core.records import RunConfig
from core.registry.estimators import CORRELATORS
from core.registry.protocols import CONTROLS, PROTOCOLS
from core.runs import execution
from core.runs.caches import recover, recover_for_reader
from core.runs.jobs import Job, new_run_id
from core.store import parcels
from core.tables import TABLES
from core.warehouse import queries
from core.warehouse.runs import read_profile
from core.warehouse.warehouse import Warehouse
from tests.conftest import ROOT, run_core
from tests.measuring import measure
from tests.runs.small import SMALL, WHOLE
from tests.tiny import save_tiny_model

pytestmark = pytest.mark.slow


def quiet(step):
    pass


def _assert_windows(windows: pl.DataFrame, run: dict) -> None:
    """Every window with its loss, all of them together the bits per byte of the run, and as many tokens in each."""
    assert windows["sequence"].to_list() == list(range(WHOLE.n_sequences)) and windows["n_points"].n_unique() == 1
    nats = windows["loss"].sum() * (WHOLE.n_tokens - 1)
    assert nats / math.log(2) == pytest.approx(windows["bits"].sum(), rel=1e-6)
    assert windows["n_bytes"].sum() == run["n_bytes_scored"]
    assert windows["bits"].sum() / run["n_bytes_scored"] == pytest.approx(run["bits_per_byte"], rel=1e-6)
    for place in ("inner", "final"):
        assert windows[f"{place}_d2"].is_between(2, 1.2 * run["hidden_size"]).all()
        assert (windows[f"{place}_d2_std_error"] < windows[f"{place}_d2"]).all()


@pytest.fixture(scope="module")
def measured(tiny_llama, tmp_path_factory):
    """A warehouse with one whole measurement, whose per-token results are kept; what was measured and the steps."""
    warehouse, steps = Warehouse(tmp_path_factory.mktemp("measured") / "w.duckdb"), []
    config = RunConfig(str(tiny_llama), "english-business", WHOLE.name, device="cpu", keep_tokens=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, WHOLE.name, WHOLE)
        return warehouse, measure(config, warehouse, steps.append), steps


def test_a_measurement_is_in_the_warehouse_with_everything_it_found(measured):
    warehouse, finished, steps = measured
    runs = queries.runs(warehouse)
    assert runs["run_id"].to_list() == [finished.run_id]
    run = runs.row(0, named=True)
    assert (run["name"], run["n_layers"], run["corpus_name"]) == ("tiny-llama", 4, "english-business")
    assert (
        run["bits_per_byte"] > 1 and run["peak_memory_bytes"] > 1e6 and json.loads(run["phase_seconds"])["geometry"] > 0
    )
    _assert_windows(queries.rows(warehouse, "run_windows", [finished.run_id]), run)
    estimates = queries.rows(warehouse, "layer_estimates", [finished.run_id])
    states = estimates.select("layer", "state").unique().sort("layer", "state").rows()
    assert states == [
        (0, "residual"),
        (1, "residual"),
        (2, "residual"),
        (3, "residual"),
        (4, "post_norm"),
        (4, "residual"),
    ]
    assert set(estimates["estimator"]) == {
        "d2",
        "d2_all_pairs",
        "d2_typed",
        "participation_ratio",
        "effective_rank",
        "stable_rank",
        "two_nn",
        "two_nn_censored",
        "two_nn_linear",
        "mle",
        "gride",
        "local_d2",
        "correlation_integral",
        "gride_between",
        "gride_typed",
        "mle_between",
    }
    assert set(estimates["cloud"]) == {"one_per_type", "one_per_word", "all_tokens"}
    assert set(estimates["transform"]) == {"centred", "abtt1", "abtt3", "zscore", "gaussian_surrogate"}
    correlators = queries.rows(warehouse, "layer_correlators", [finished.run_id])
    assert set(correlators["correlator"]) == {
        name for name in CORRELATORS if not name.startswith(("label_", "readable_"))
    }
    assert correlators.filter(correlator="large_norm_tokens")["value"].max() >= run["n_dropped_norm"] > -1
    primary = estimates.filter(estimator="d2", cloud="one_per_type", transform="centred")
    assert primary.filter(pl.col("lower") < pl.col("value"), pl.col("value") < pl.col("upper")).height == 6
    assert not list(warehouse.jobs.iterdir())
    assert steps[0].phase == "load" and steps[-1].done == steps[-1].total


def test_random_weights_are_vetoed_and_never_found(warehouse, tmp_path, monkeypatch):
    """Weights drawn so that a block outweighs the embedding, as at real widths: late states say which window it is."""
    folder = save_tiny_model(tmp_path / "random", initializer_range=0.07)
    sized = replace(SMALL, n_sequences=32, n_tokens=128, max_types=800)
    monkeypatch.setitem(PROTOCOLS, SMALL.name, sized)
    config = RunConfig(str(folder), "english-business", SMALL.name, device="cpu")
    finished = measure(config, warehouse, quiet)
    summary = finished.profile.summaries[0]
    assert (summary.verdict_rise, summary.verdict_fall) == ("invalid", "invalid")
    vetoed = {check.check_name for check in finished.profile.checks if check.outcome == "veto"}
    assert vetoed & {"sequence_invariance_all_pairs", "sequence_share"}
    assert "check_vetoed" in finished.profile.summaries[0].qualifiers


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("shallow"), num_hidden_layers=2)


@pytest.fixture
def controlled(config, shallow, monkeypatch):
    """A request with control passes, small enough for a test."""
    small = replace(SMALL, name="controlled", n_control_seeds=2, passes=("random_init", "shuffled"))
    monkeypatch.setitem(PROTOCOLS, "controlled", small)
    return replace(config, model=str(shallow), protocol="controlled")


def test_control_passes_are_runs_of_their_own_and_are_not_measured_twice(controlled, warehouse, tmp_path, monkeypatch):
    protocol = PROTOCOLS[controlled.protocol]
    monkeypatch.setitem(PROTOCOLS, protocol.name, replace(protocol, passes=tuple(CONTROLS)))
    first = measure(controlled, warehouse, quiet)
    runs = queries.runs(warehouse)
    own = [name for name in CONTROLS if name not in ("without_bos", "random_init")]  # the tokenizer adds no BOS
    assert sorted(runs["pass"]) == sorted([*own, "random_init", "text"])
    assert runs.filter(pl.col("model_seed").is_null())["pass"].sort().to_list() == ["shuffled", "text"]
    assert set(runs.filter(pl.col("pass") != "text")["parent_run_id"]) == {first.run_id}
    summary = first.profile.summaries[0]
    assert set(summary.control_run_ids) == {c.run.run_id for c in first.controls}
    by_pass = {c.run.pass_: c for c in first.controls}
    assert by_pass["shuffled"].run.bits_per_byte != first.profile.run.bits_per_byte
    for name, control in by_pass.items():
        drawn = [0, 1] if CONTROLS[name].judges else []
        assert sorted({row.model_seed for row in control.seeds}) == drawn
    # What a verdict does not compare is not measured; `within` compares the windows of the text with shuffled ones.
    assert not any(c.pairs or c.distributions or (c.windows and c.run.pass_ != "shuffled") for c in first.controls)
    again = measure(controlled, warehouse, quiet, again=True)
    assert [c.run.run_id for c in again.controls] == [c.run.run_id for c in first.controls]
    # Trained weights of the same architecture: what is wholly random is the same, nothing else.
    other = replace(controlled, model=str(save_tiny_model(tmp_path / "other", seed=5, num_hidden_layers=2)))
    monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)
    second = measure(other, warehouse, quiet)
    shared = [{c.run.run_id for c in f.controls if c.run.pass_ == "random_init"} for f in (first, second)]
    assert shared[0] == shared[1] and len(shared[0]) == 1
    known = sorted(queries.runs(warehouse)["pass"])
    assert known == sorted([*own, "shuffled", "random_init", *["text"] * 3])


def test_a_control_that_was_stopped_goes_on_with_its_next_draw(controlled, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, controlled.protocol, replace(PROTOCOLS[controlled.protocol], n_control_seeds=4))
    measure_seed, drawn = SeedMeasurer._measure_seed, []

    def stop_in_the_third(self, model, seed, *rest):
        drawn.append(seed)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return measure_seed(self, model, seed, *rest)

    monkeypatch.setattr(SeedMeasurer, "_measure_seed", stop_in_the_third)
    asked = replace(controlled, pass_="matched_blocks"), "run", tmp_path / "kept", quiet
    with pytest.raises(KeyboardInterrupt):
        measure_profile(*asked)
    spent = json.loads((tmp_path / "kept" / RESOURCES_FILE).read_text(encoding="utf-8"))["seconds"]["seeds"]
    control = measure_profile(*asked)
    assert drawn == [1, 2, 3, 3] and {row.model_seed for row in control.seeds} == {0, 1, 2, 3}
    assert json.loads(control.run.phase_seconds)["seeds"] >= round(spent, 2) > 0
    assert not json.loads(control.run.execution)["streamed"]


def test_a_text_that_opens_with_a_token_is_measured_without_it_too(config, shallow, warehouse, tmp_path, monkeypatch):
    """The effect of the token on both claims, on the largest inner dimension and on the final one."""
    folder = tmp_path / "opens"
    shutil.copytree(shallow, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    single = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = single
    tokenizer.save_pretrained(folder)
    monkeypatch.setitem(PROTOCOLS, SMALL.name, replace(SMALL, passes=("without_bos",)))
    finished = measure(replace(config, model=str(folder), protocol=SMALL.name), warehouse, quiet)
    (without,) = (control for control in finished.controls if control.run.pass_ == "without_bos")
    assert (finished.profile.run.opening_token, without.run.opening_token) == ("<s>", None)
    assert without.run.n_dropped_special == finished.profile.run.n_dropped_special == 0
    assert without.run.bits_per_byte != finished.profile.run.bits_per_byte
    rows = [row for row in finished.profile.controls if row.control_run_id == without.run.run_id]
    assert {row.claim for row in rows} == {"rise", "fall", "inner_max", "final"}
    assert all(row.power is None and row.lower < row.ratio < row.upper for row in rows)


def test_a_control_that_cannot_be_measured_does_not_stop_the_measurement(controlled, warehouse, monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("core.measure.profile.draw_network", refuse)
    finished = measure(controlled, warehouse, quiet)
    assert not finished.waits and "Try --dtype bfloat16, --device cpu, a smaller --memory" in finished.failed[0]
    assert [c.run.pass_ for c in finished.controls] == ["shuffled"]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_memory_that_runs_out_is_one_line(config, warehouse, monkeypatch, error):
    def refuse(*_arguments):
        raise error

    monkeypatch.setattr("core.measure.profile.measure_profile", refuse)
    with pytest.raises(ResourceError, match="Not enough memory for .* on 'cpu'"):
        measure(config, warehouse, quiet)
    assert queries.runs(warehouse).is_empty() and not list(warehouse.jobs.iterdir())


def test_a_model_that_cannot_be_measured_does_not_stop_the_next(config, warehouse):
    asked = ("--text", config.corpus, "--protocol", config.protocol, "--device", "cpu")
    done = run_core("measure", "no-such-model", config.model, *asked, warehouse=warehouse.path)
    assert done.returncode == 2 and "No model 'no-such-model'" in done.stderr
    assert queries.runs(warehouse).height == 1 and not list(warehouse.jobs.iterdir())


def test_estimators_that_every_run_measures_are_refused_before_anything_is_measured(config, warehouse):
    steps = []
    with pytest.raises(EstimateError, match="d2 is measured in every run"):
        measure(replace(config, estimators=("d2",)), warehouse, steps.append)
    assert {step.phase for step in steps} <= {"load"}


def test_a_warehouse_that_is_lost_between_two_passes_ends_nothing(controlled, warehouse, monkeypatch):
    """Whatever the warehouse knows is asked for before the first pass, and every pass can wait in its parcel."""
    finish, read, error = parcels.publish_parcel, Warehouse.read, ResourceError("The disk is full.")
    passes = []

    def locked_from_now_on(self, *_arguments):
        if passes:
            raise error
        return read(self, *_arguments)

    def lock(folder, job):
        passes.append(job.name)
        return finish(folder, job)

    def refuse(*_arguments):
        raise error

    monkeypatch.setattr(Warehouse, "read", locked_from_now_on)
    monkeypatch.setattr(parcels, "publish_parcel", lock)
    monkeypatch.setattr(execution, "ingest_parcel", refuse)
    finished = measure(controlled, warehouse, quiet)
    assert len(passes) == 3 and finished.waits == str(error)
    assert len(finished.controls) == 2 and not finished.failed


def test_a_job_that_may_not_be_touched_keeps_nobody_from_reading(config, warehouse, monkeypatch):
    run_id = measure(config, warehouse, quiet).run_id
    (warehouse.jobs / "of-a-colleague").mkdir()

    def forbid(self, *_arguments, **_keywords):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", forbid)
    (reason,) = recover_for_reader(warehouse)
    assert "of-a-colleague" in reason and "Permission denied" in reason
    assert queries.runs(warehouse)["run_id"].to_list() == [run_id]


def test_a_later_draw_of_the_text_is_held_against_the_first(config, warehouse):
    asked = [
        {"seed": 7},
        {"seed": 9},
        {"seed": 8},  # in any order, from any on
        {"seed": 7},
        {"seed": 10, "corpus": "python-docs"},
    ]
    first, *later, again, other = (
        measure(replace(config, protocol="small", **changes), warehouse, quiet).profile for changes in asked
    )
    run_ids = [p.run.run_id for p in (first, *later, again, other)]
    checks = queries.rows(warehouse, "run_checks", run_ids).filter(check_name="second_draw")
    assert sorted(checks["run_id"]) == sorted(profile.run.run_id for profile in later)
    before = first.summaries[0].inner_max
    for profile in later:
        row = checks.row(by_predicate=pl.col("run_id") == profile.run.run_id, named=True)
        assert row["value"] == pytest.approx(math.log(profile.summaries[0].inner_max / before))
        assert row["std_error"] > 0


def test_a_profile_is_read_back_as_it_was_stored(measured):
    warehouse, finished, _ = measured
    back = read_profile(warehouse, finished.run_id)
    assert back.model == finished.profile.model and back.summaries == finished.profile.summaries
    assert sorted(back.estimates, key=str) == sorted(finished.profile.estimates, key=str)
    again = judge_profile(back)
    assert (again.summaries, again.claims) == (finished.profile.summaries, finished.profile.claims)


def test_per_token_results_are_kept_on_request(measured):
    """Without one `test_no_text_and_no_token_leaves_with_a_parcel` finds none."""
    warehouse, kept, _ = measured
    tokens = pl.read_parquet(warehouse.parcels / kept.run_id / "tokens.parquet")
    of_layer = {"local_d2", "distance_to_mean", "variance_share", "cosine_to_mean"}
    assert set(tokens["quantity"]) == of_layer | {"neighbours_kept", "displacement", "block_share"}
    assert tokens["position"].min() > 0  # position 0 is masked


@pytest.mark.parametrize(("protocol", "cloud"), [("last-token", "last_token"), ("per-prompt", "per_prompt")])
def test_published_statistics_have_a_cloud_of_their_own(config, warehouse, monkeypatch, protocol, cloud):
    smaller = {"last-token": dict(n_sequences=128), "per-prompt": dict(n_sequences=4, n_tokens=200, passes=())}
    monkeypatch.setitem(PROTOCOLS, protocol, replace(PROTOCOLS[protocol], **smaller[protocol]))
    finished = measure(replace(config, protocol=protocol), warehouse, quiet)
    assert {row.cloud for row in finished.profile.estimates} == {cloud}
    gride = [row for row in finished.profile.estimates if row.estimator == "gride" and row.n1 == 2]
    assert len(gride) == 6 and all(row.value > 0 and row.std_error > 0 for row in gride)
    assert finished.profile.summaries == []


def test_models_measured_together_share_their_words_and_a_new_partner_measures_none_again(
    config, tiny_llama, tiny_bert, warehouse, tmp_path, monkeypatch
):
    wordy = replace(SMALL, name="words", n_sequences=32, n_tokens=128, clouds=("one_per_type", "one_per_word"))
    monkeypatch.setitem(PROTOCOLS, "words", wordy)
    models = [str(tiny_llama), str(tiny_bert)]
    runs = [
        measure(replace(config, model=m, protocol="words", companions=(o,)), warehouse, quiet).profile.run
        for m, o in zip(models, models[::-1], strict=True)
    ]
    assert runs[0].words_hash == runs[1].words_hash is not None
    assert runs[0].n_words == runs[1].n_words > 100
    asked = replace(config, model=models[0], protocol="words")
    twin = shutil.copytree(tiny_llama, tmp_path / "twin")
    larger = save_tiny_model(tmp_path / "larger", n_types=2500)
    for companions in ((str(twin),), (models[1], str(twin)), (str(larger),)):
        known = measure(replace(asked, companions=companions), warehouse, quiet, again=False)
        assert known.was_known and known.run_id == runs[0].run_id, "another partner, the same tokens or words"
    smaller = save_tiny_model(tmp_path / "smaller", n_types=400)  # it has too few tokens for all of the words
    beside = measure(replace(asked, companions=(str(smaller),)), warehouse, quiet, again=False)
    assert not beside.was_known and beside.profile.run.words_hash != runs[0].words_hash, "other words are measured"


def test_no_text_and_no_token_leaves_with_a_parcel(config, warehouse, tmp_path, monkeypatch):
    """Every stored string is decoded and searched for words of the text; no list is as long as a text."""
    text = (ROOT / "data" / "corpora" / "english-business.txt").read_text(encoding="utf-8")
    path = tmp_path / "board-minutes.txt"
    path.write_text(re.sub(r"\b(the|of|and|a|to|in|was|for)\b", "zyxomma", text), encoding="utf-8")
    monkeypatch.setitem(PROTOCOLS, WHOLE.name, WHOLE)
    finished = measure(replace(config, corpus=str(path), protocol=WHOLE.name), warehouse, quiet)
    folder = warehouse.parcels / finished.run_id
    tables = parcels.read_parcel(folder)
    assert {file.stem for file in folder.iterdir()} <= {"run", "places"} | set(TABLES) - {"tokens"}
    assert str(tmp_path) not in (folder / parcels.RUN_FILE).read_text(), "the folder of a text is nobody else's"
    assert json.loads((folder / parcels.PLACES_FILE).read_text())["corpus"] == str(path)
    assert parcels.PLACES_FILE not in parcels.PARCEL_FILES
    for frame in tables.values():
        for column in frame:
            if column.dtype == pl.String:
                assert not column.drop_nulls().str.contains("zyxomma").any(), column.name
            if isinstance(column.dtype, pl.List):
                assert (column.list.len().max() or 0) <= 40, column.name


@pytest.mark.parametrize(
    ("change", "error"), [({"corpus": "no-such-corpus"}, CorpusError), ({"model": "no-such-model"}, ModelError)]
)
def test_bad_input_leaves_nothing(config, warehouse, change, error):
    with pytest.raises(error):
        measure(RunConfig(**{"model": config.model, "corpus": config.corpus} | change), warehouse, quiet)
    assert not list(warehouse.jobs.glob("*")) and not list(warehouse.parcels.glob("*"))
    assert queries.runs(warehouse).is_empty()


def test_an_unusable_warehouse_is_found_out_before_measuring(config, warehouse):
    warehouse.path.write_text("this is a letter", encoding="utf-8")
    with pytest.raises(WarehouseError, match="is not a DuckDB file"):
        measure(config, warehouse, quiet)


def test_a_warehouse_that_stays_locked_is_no_failure(config, warehouse):
    """Another process takes the file while the layers are measured, and does not let go."""
    hold = f"import duckdb; c = duckdb.connect({str(warehouse.path)!r}); print('held', flush=True); input()"
    holders = []

    def lock_once(step):
        if step.phase == "geometry" and not holders:
            holders.append(
                subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert holders[0].stdout.readline().strip() == b"held"

    try:
        finished = measure(config, Warehouse(warehouse.path, wait=0.3), lock_once)
        assert finished.waits
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
    recover(warehouse)
    assert queries.runs(warehouse)["run_id"].to_list() == [finished.run_id]


def test_a_measurement_at_work_is_left_alone_and_its_scratch_never_travels(config, warehouse):
    seen = []

    def look(step):
        if step.phase == "geometry" and not seen:
            recover(warehouse)
            (job,) = [folder for folder in warehouse.jobs.iterdir() if folder.is_dir() and folder.name[0] != "."]
            kept = job / f"kept-{job.name}"
            seen.append(({file.name for file in job.iterdir()}, {file.name for file in kept.iterdir()}))

    finished = measure(config, warehouse, look)
    in_job, in_kept = seen[0]
    assert in_job == {"job.json", "worker.json", "progress.json", "log.txt", f"kept-{finished.run_id}"}
    assert in_kept == {"key.json", "states.npy", "step-forward.json", "spent.json"}
    assert not finished.waits
    assert not list(warehouse.jobs.iterdir())


def test_run_ids_are_uuids_that_sort_by_time_even_within_a_millisecond():
    ids = []
    for _ in range(20):
        ids.append(new_run_id())
        time.sleep(1e-5)
    assert ids == sorted(ids)
    assert all(len(i) == 36 and i[14] == "7" and i[19] in "89ab" for i in ids)


def test_the_beginning_of_an_id_tells_a_run_from_its_controls(tmp_path):
    job = Job(tmp_path / "01a2304f-de5b-7dbc-b26a-cec350c8f296", RunConfig("model"), 1798439026.267)
    ids = [job.job_id, *map(job.control_id, ("shuffled", "matched_blocks", "random_init", "random_blocks"))]
    assert len({one[:SHORT_ID] for one in ids}) == len(ids) and len({one[:13] for one in ids[1:]}) == 1
    assert ids[1] == job.control_id("shuffled") and all(one[14] == "7" and one[19] in "89ab" for one in ids)
