"""Files of scores go in whole or not at all, are known again, read through aliases, and come out again."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from core.errors import InputError
from core.scores.score_rows import Remark
from core.store import user_files
from core.warehouse import queries, stored_scores, sync
from core.warehouse.aliases import list_aliases, set_aliases
from core.warehouse.runs import ingest_parcel
from core.warehouse.schema import shipped_hashes
from core.warehouse.stored_scores import (
    answers,
    list_answer_sets,
    list_imports,
    map_suggested,
    preview_import,
    remove_import,
    score_blocks,
    score_conflicts,
    store_import,
    unmatched_names,
)
from tests.profiles import make_model, make_profile
from tests.warehouse import score_files as made
from tests.warehouse.score_files import score, score_file

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"


def counts(warehouse) -> dict[str, int]:
    return {t: warehouse.read(f"SELECT count(*) FROM {t}").item() for t in (*stored_scores.TABLES, "model_aliases")}


@pytest.fixture
def measured(warehouse, add_parcel):
    """`Org/Model-1` of the hub and a local folder are measured here."""
    hub = make_model("Org/Model-1@abc", repository="Org/Model-1")
    ingest_parcel(warehouse, add_parcel(make_profile(RUN, model=hub)))
    ingest_parcel(warehouse, add_parcel(make_profile(RUN[:-1] + "2", model=make_model("local:tuned@f00"))))
    return warehouse


def test_a_file_is_stored_with_its_answers_and_known_again(warehouse):
    before = counts(warehouse)
    file = score_file(score(), score(benchmark="piqa"), Remark("empty"), samples=made.answers("o/a", {"q": 1}))
    stored = store_import(warehouse, file)
    assert (stored.n_taken, stored.n_samples, stored.n_skipped, stored.is_new) == (2, 1, 1, True)
    assert counts(warehouse) == before | {"score_files": 1, "scores": before["scores"] + 2, "score_samples": 1}
    again = store_import(warehouse, replace(file, name="copy.csv"))
    assert not again.is_new and again.name == "mine.csv" and again.imported_at == stored.imported_at
    assert counts(warehouse)["scores"] == before["scores"] + 2
    assert preview_import(warehouse, file).imported_at == stored.imported_at
    assert queries.scores(warehouse, ["o/a"])["file_sha256"].unique().to_list() == [file.sha256]


HOSTILE = (
    (score_file(score(), score("o/b", source="pilot:p-1")), "line 3.*sources beginning with 'pilot:'"),
    (score_file(score(value=float("nan"))), "must be a finite number"),
    (score_file(Remark("empty")), "holds nothing that could be stored"),
)


def test_a_hostile_or_empty_file_stores_nothing(warehouse):
    before = counts(warehouse)
    for file, message in HOSTILE:
        with pytest.raises(InputError, match=message):
            store_import(warehouse, file)
    assert counts(warehouse) == before and list_imports(warehouse).is_empty()


def test_what_fails_in_the_middle_is_finished_by_the_next(warehouse, monkeypatch):
    before = counts(warehouse)
    insert = sync.insert

    def failing(connection, table, rows):
        if table == "score_samples":
            raise RuntimeError("the power failed")
        insert(connection, table, rows)

    monkeypatch.setattr(sync, "insert", failing)
    file = score_file(score(), samples=made.answers("o/a", {"q": 1}))
    with pytest.raises(RuntimeError):
        store_import(warehouse, file)
    monkeypatch.undo()  # its file was whole: it comes in with whoever comes next
    assert counts(warehouse) == before | {
        "score_files": 1,
        "scores": before["scores"] + 1,
        "score_samples": before["score_samples"] + 1,
    }
    assert not store_import(warehouse, file).is_new


def test_a_small_parcel_holds_what_was_imported(warehouse):
    stored = store_import(warehouse, score_file(score(), samples=made.answers("o/a", {"q": 1})))
    for table, rows in user_files.read(warehouse.folder, "scores", stored.file_sha256).items():
        assert rows["file_sha256"].to_list() == [stored.file_sha256], table


def test_a_file_that_is_deleted_while_it_is_read_is_not_damaged(warehouse, monkeypatch):
    sha256 = store_import(warehouse, score_file(score())).file_sha256
    read_table = user_files.read_table

    def read_after_deletion(*asked):
        user_files.delete(warehouse.folder, "scores", sha256)
        return read_table(*asked)

    monkeypatch.setattr(user_files, "read_table", read_after_deletion)
    assert user_files.read(warehouse.folder, "scores", sha256) is None


def test_a_file_is_taken_out_with_all_that_came_in_it(warehouse):
    before = counts(warehouse)
    file = score_file(score(), samples=made.answers("o/a", {"q": 1}))
    store_import(warehouse, file)
    store_import(warehouse, score_file(score("o/b"), name="other.csv"))
    assert remove_import(warehouse, f"…{file.sha256[-10:]}") == "mine.csv"
    assert counts(warehouse) == before | {"score_files": 1, "scores": before["scores"] + 1}
    assert list_imports(warehouse)["file_name"].to_list() == ["other.csv"]


def test_what_was_not_imported_cannot_be_taken_out(warehouse):
    store_import(warehouse, score_file(score()))
    before = counts(warehouse)
    shipped = warehouse.read("SELECT any_value(file_sha256) FROM scores WHERE source <> 'a table'").item()
    for sha in ("", "nothing", "%", shipped):
        with pytest.raises(InputError, match="There is no file|Several"):
            remove_import(warehouse, sha)
    assert counts(warehouse) == before


COMPARED = (
    (61.0, "percent", "duplicate"),
    (61.04, "percent", "duplicate"),  # 61.0 is how a source with one decimal writes it
    (0.6104, "fraction", "duplicate"),
    (61.2, "percent", "conflict"),
    (61.37, "percent", "conflict"),
)


def test_the_preview_knows_what_is_there_and_what_contradicts_it(warehouse):
    store_import(warehouse, score_file(score(value=61.0, source="first")))
    for value, unit, known in COMPARED:
        file = score_file(score(value=value, unit=unit), score("o/new"), name="second.csv")
        rows = preview_import(warehouse, file).rows
        assert rows["known"].to_list() == [known, None]
        assert rows["known_from"][0] == "first"
        assert rows["known_value"][0] == pytest.approx(0.61 if unit == "fraction" else 61.0)  # beside it, in its unit
        assert rows["fate"].to_list() == ["taken", "taken"]  # both are kept


def test_partial_runs_contradict_nothing_and_are_known_again(warehouse):
    store_import(warehouse, score_file(score(value=61.0), score(value=55.0, benchmark="piqa", is_partial=True)))
    again = [
        score(value=20.0, is_partial=True),
        score(value=20.0, benchmark="piqa", is_partial=True),
        score(value=20.0, benchmark="piqa"),
        score(value=55.0, benchmark="piqa", is_partial=True),
    ]
    known = [preview_import(warehouse, score_file(one, name="other.csv")).rows["known"].item() for one in again]
    assert known == [None, None, None, "duplicate"]


OTHER_SETTINGS = {
    "revision": "r2",
    "metric": "f1",
    "filter": "strict",
    "n_shot": 5,
    "suite": "s",
    "dtype": "float16",
    "chat_template": True,
}


def test_a_score_in_other_settings_is_another_score(warehouse):
    store_import(warehouse, score_file(score(value=61.0)))
    others = [score(value=70.0, **{name: value}) for name, value in OTHER_SETTINGS.items()]
    assert preview_import(warehouse, score_file(*others, name="second.csv")).rows["known"].to_list() == [None] * 7


def test_a_file_that_contradicts_itself_is_told(warehouse):
    rows = preview_import(warehouse, score_file(score(value=61.0), score(value=70.0), score("o/b"), score("o/b"))).rows
    assert rows["known"].to_list() == ["conflict", "conflict", "duplicate", "duplicate"]
    assert set(rows["known_from"]) == {"mine.csv"}


def test_one_source_that_agrees_and_one_that_does_not_are_a_conflict(warehouse):
    store_import(warehouse, score_file(score(value=61.0, source="one"), name="a.csv"))
    store_import(warehouse, score_file(score(value=70.0, source="two"), name="b.csv"))
    row = preview_import(warehouse, score_file(score(value=61.0))).rows.row(0, named=True)
    assert (row["known"], row["known_value"], row["known_from"]) == ("conflict", 70.0, "one; two")
    assert score_conflicts(warehouse).filter(repository="o/a").select("lowest", "highest", "n_values").rows() == [
        (61.0, 70.0, 2)
    ]


def test_values_that_agree_after_rounding_are_no_contradiction(warehouse):
    before = score_conflicts(warehouse).height
    store_import(warehouse, score_file(score(value=61.0, source="one"), name="a.csv"))
    store_import(warehouse, score_file(score(value=61.03, source="two"), name="b.csv"))
    assert score_conflicts(warehouse).height == before > 0  # the shipped sources have some of their own


def test_the_preview_says_which_model_a_name_means(measured):
    set_aliases(measured, {"my-tuned": "local:tuned"})
    names = ["Org/Model-1", "Org__Model-1", "org/model-1", "/data/models/Model-1", "my-tuned", "x/unknown"]
    found = preview_import(measured, score_file(*(score(name) for name in names)))
    told = {row["name"]: row for row in found.names.iter_rows(named=True)}
    assert [told[name]["is_measured"] for name in names] == [True, False, False, False, True, False]
    assert told["my-tuned"]["reference"] == "local:tuned" and told["my-tuned"]["matched_by"] == "alias"
    for near in names[1:4]:
        assert told[near]["suggestions"] == ["Org/Model-1"]
    assert told["x/unknown"]["suggestions"] == told["Org/Model-1"]["suggestions"] == []
    assert found.rows.filter(model="my-tuned")["fate"].item() == "mapped"


@pytest.fixture
def shown(warehouse, add_parcel):
    """Two models of one name, one of another name, and two revisions of one reference."""
    for number, (model_id, name) in enumerate(
        (("hub:a/twin@1", "twin"), ("hub:b/twin@1", "twin"), ("local:x1@f00", "A long name of one"), *_REVISIONS)
    ):
        ingest_parcel(warehouse, add_parcel(make_profile(f"{RUN[:-1]}{number}", model=make_model(model_id, name=name))))
    return warehouse


_REVISIONS = (("local:trained@s1", "trained"), ("local:trained@s2", "trained"))


def test_a_name_that_equals_a_measured_models_name_or_id_is_that_model(shown):
    names = ["A long name of one", "A long name of one ‡", "local:trained@s2", "trained", "local:x1"]
    found = preview_import(shown, score_file(*(score(name, at) for at, name in enumerate([*names, "twin", "x/y"]))))
    told = {row["name"]: row for row in found.names.iter_rows(named=True)}
    assert [told[name]["matched_by"] for name in names] == ["name", "name", "id", "name", "reference"]
    assert all(told[name]["is_measured"] for name in names)
    assert told["twin"]["matched_by"] is None and told["twin"]["suggestions"] == ["hub:a/twin", "hub:b/twin"]
    assert told["x/y"]["matched_by"] is None and not told["x/y"]["is_measured"]
    assert found.aliases == dict.fromkeys(names[:2], "local:x1") | {"trained": "local:trained"}
    assert list_aliases(shown).is_empty(), "nothing is stored before it is asked for"
    store_import(shown, found.file, found.aliases)
    assert dict(list_aliases(shown).select("alias", "reference").rows()) == found.aliases
    of_id = queries.scores(shown, ["local:trained"]).filter(value=2.0)
    assert of_id.select("repository", "revision").rows() == [("local:trained", "s2")]
    set_aliases(shown, {}, list(found.aliases))
    assert queries.scores(shown, ["local:x1"]).height == 1, "taken back, a name is a name"


def test_all_names_that_may_be_meant_are_mapped_at_once(shown):
    store_import(shown, score_file(score("X1"), score("twin"), score("x/y")))
    assert map_suggested(shown) == {"X1": "local:x1", "twin": "hub:a/twin"}
    assert map_suggested(shown) == {} and list_aliases(shown).height == 2


def test_a_name_that_others_mean_stays_as_it_is(shown):
    set_aliases(shown, {"ours": "A long name of one"})
    found = preview_import(shown, score_file(score("A long name of one")))
    assert found.aliases == {} and found.names["suggestions"].to_list() == [[]]


def test_an_alias_that_is_to_come_is_previewed(measured):
    found = preview_import(measured, score_file(score("Model One")), new_aliases={"Model One": "Org/Model-1"})
    assert found.names["is_measured"].to_list() == [True] and list_aliases(measured).is_empty()


def test_an_alias_acts_at_once_on_what_is_there_and_can_be_taken_back(measured):
    store_import(measured, score_file(score("Model One", 61.0), samples=made.answers("Model One", {"q": 1})))
    assert queries.scores(measured, ["Org/Model-1"]).is_empty()
    set_aliases(measured, {"Model One": "Org/Model-1"})
    row = queries.scores(measured, ["Org/Model-1"]).row(0, named=True)
    assert (row["repository"], row["name_in_source"], row["value"]) == ("Org/Model-1", "Model One", 61.0)
    assert queries.scores(measured, ["Model One"]).is_empty()
    assert list_answer_sets(measured)["model"].to_list() == ["Org/Model-1"]
    assert list_aliases(measured).select("is_measured", "n_scores").rows() == [(True, 1)]
    set_aliases(measured, {}, ["Model One"])
    assert queries.scores(measured, ["Model One"]).height == 1
    assert not user_files.list_ids(measured.folder, "alias")


def test_a_users_own_score_is_moved_by_no_alias(measured):
    with measured.write() as connection:
        row = "SELECT * REPLACE ('local:tuned' AS repository, 'pilot:p-1' AS source) FROM scores LIMIT 1"
        connection.execute(f"INSERT INTO scores BY NAME ({row})")
    set_aliases(measured, {"local:tuned": "Org/Model-1"})
    assert queries.scores(measured, ["local:tuned"]).height == 1


REFUSED_ALIASES = (
    ({"a": "a"}, "means itself"),
    ({"new": "known"}, "' is an alias of '"),
    ({"o/target": "x/y"}, "' is an alias of '"),
    ({"a": ""}, "visible characters"),
    ({"a": "x/y@main"}, "Leave @"),
    ({"a\nb": "x/y"}, "visible characters"),
    ({"a" * 501: "x/y"}, "to 500 visible"),
)


def test_an_alias_that_leads_nowhere_changes_nothing(warehouse):
    set_aliases(warehouse, {"known": "o/target"})
    for wanted, message in REFUSED_ALIASES:
        with pytest.raises(InputError, match=message):
            set_aliases(warehouse, {"good": "o/good"} | wanted)
    assert list_aliases(warehouse)["alias"].to_list() == ["known"]


def test_aliases_are_edited_together(warehouse):
    set_aliases(warehouse, {"a": "x/one", "b": "x/two"})
    kept = list_aliases(warehouse).filter(alias="a")["created_at"].item()
    set_aliases(warehouse, {"a": "x/one", "c": "x/three", "d": " x/four "}, ["b"])
    found = list_aliases(warehouse)
    assert dict(found.select("alias", "reference").rows()) == {"a": "x/one", "c": "x/three", "d": "x/four"}
    assert found.filter(alias="a")["created_at"].item() == kept  # what did not change is not written anew
    with pytest.raises(InputError, match="There is no alias b"):
        set_aliases(warehouse, {}, ["b"])


def test_names_that_look_like_a_measured_model_are_suggested(measured):
    store_import(
        measured, score_file(score("Org__Model-1"), score("x/unknown"), samples=made.answers("TUNED", {"q": 1}))
    )
    found = unmatched_names(measured)
    assert dict(found.select("name", pl.col("suggestions").list.first()).rows()) == {
        "Org__Model-1": "Org/Model-1",
        "TUNED": "local:tuned",
    }
    set_aliases(measured, {"TUNED": "local:tuned"})
    assert unmatched_names(measured)["name"].to_list() == ["Org__Model-1"]


def test_answers_of_the_newest_file_count_and_revisions_are_models_of_their_own(warehouse):
    for name, value in (("old", 0), ("new", 1)):
        samples = made.answers("o/a", {"q1": value, "q2": value})
        store_import(warehouse, score_file(samples=samples, name=name))
        time.sleep(0.002)
    store_import(warehouse, score_file(samples=made.answers("o/a", {"q1": 0}, revision="r1"), name="other"))
    assert list_answer_sets(warehouse).select("model", "n_questions", "n_files").rows() == [
        ("o/a", 2, 2),
        ("o/a@r1", 1, 1),
    ]
    assert answers(warehouse, "o/a", "arc_easy")["value"].to_list() == [1.0, 1.0]
    assert answers(warehouse, "o/a@r1")["doc_hash"].to_list() == ["q1"]


def test_scores_come_without_each_block_of_the_questions_that_all_models_answered(warehouse):
    draw = np.random.default_rng(0)
    right = {name: (draw.random(50) < 0.6).astype(float) for name in ("o/a", "o/b", "o/c", "o/other", "o/rounded")}
    wanted = []
    for name, values in right.items():
        asked = {f"{'other' if name == 'o/other' else 'q'}{n:02d}": value for n, value in enumerate(values)}
        told = score(name, values.mean() + 0.01 * (name == "o/rounded"), unit="fraction")
        file = score_file(told, name=name, samples=made.answers(name, asked))
        store_import(warehouse, file)
        wanted.append((name, file.sha256, name, "arc_easy", "acc", "none", 100 * told.value))
    columns = ["run_id", "file_sha256", "repository", "benchmark", "metric", "filter", "score"]
    frame = pl.DataFrame(wanted, schema=columns, orient="row")
    found = dict(score_blocks(warehouse, frame).rows())
    assert set(found) == {"o/a", "o/b", "o/c"}
    in_order = np.array_split(right["o/a"], 20)  # 50 in 20 blocks: ten of three, then ten of two
    assert found["o/a"] == pytest.approx(
        [100 * (50 * right["o/a"].mean() - one.sum()) / (50 - len(one)) for one in in_order]
    )
    assert score_blocks(warehouse, frame.clear()).is_empty()


def test_a_leaderboard_of_thousands_is_previewed_and_stored(warehouse):
    rows = [score(f"o/m{n}", value=n / 100, benchmark=f"b{k}") for n in range(3000) for k in range(5)]
    found = preview_import(warehouse, score_file(*rows))
    assert found.rows.height == 15_000 and found.names.height == 3000
    assert store_import(warehouse, found.file).n_taken == 15_000
    assert queries.scores(warehouse, ["o/m2999"]).height == 5


def test_the_scores_that_ship_are_neither_imported_nor_taken_out(warehouse):
    shipped = warehouse.read("SELECT count(*) AS n FROM scores")["n"][0]
    with pytest.raises(InputError, match="ships"):
        stored_scores.store_import(warehouse, replace(score_file(score()), sha256=shipped_hashes()[1]))
    assert warehouse.read("SELECT count(*) AS n FROM scores")["n"][0] == shipped
