"""`scores` as a user runs it: import, list, remove, names, comparison; a bad file keeps no good one out."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from core.warehouse import queries, stored_scores
from core.warehouse.aliases import list_aliases
from core.warehouse.warehouse import Warehouse
from tests.conftest import run_core
from tests.screens import filled_warehouse
from tests.warehouse.score_files import answers, score, score_file

BIG = "HuggingFaceTB/SmolLM2-135M"
GOOD = (
    "model,benchmark,metric,value,unit\n"
    f"{BIG},arc_easy,acc,61,percent\nHuggingFaceTB__SmolLM2-135M,piqa,acc,70,percent\no/x,piqa,acc,much,percent\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled_warehouse(tmp_path)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.csv"
    file.write_text(GOOD, encoding="utf-8")
    return file


def names(path: Path) -> list[str]:
    return stored_scores.list_imports(Warehouse(path))["file_name"].to_list()


def test_an_import_says_what_was_taken_what_not_and_why(path: Path, good: Path) -> None:
    tried = run_core("scores", "import", str(good), "--dry-run", warehouse=path)
    assert tried.returncode == 0 and "not stored" in tried.stdout and names(path) == []
    done = run_core("scores", "import", str(good), warehouse=path)
    assert done.returncode == 0, done.stderr
    for part in ("2 taken", "1 skipped", "not a number (much)", "line 4", "measured here: 1", "stored."):
        assert part in done.stdout, part
    assert f"workdim scores alias HuggingFaceTB__SmolLM2-135M {BIG}" in done.stdout
    japanese = run_core("scores", "import", str(good), "--dry-run", warehouse=path, WORKDIM_LANGUAGE="ja").stdout
    assert "4行目" in japanese and "line" not in japanese
    again = run_core("scores", "import", str(good), warehouse=path)
    assert again.returncode == 0 and "stored before" in again.stdout and names(path) == ["good.csv"]


def test_a_value_that_contradicts_another_source_is_told_and_stored(path: Path, good: Path, tmp_path: Path) -> None:
    assert run_core("scores", "import", str(good), warehouse=path).returncode == 0
    other = tmp_path / "other.csv"
    other.write_text(GOOD.replace("arc_easy,acc,61", "arc_easy,acc,30"), encoding="utf-8")
    done = run_core("scores", "import", str(other), warehouse=path)
    assert done.returncode == 0, done.stderr
    assert f"contradiction: {BIG} arc_easy acc: 30, but " in done.stdout and "61" in done.stdout
    assert set(names(path)) == {"good.csv", "other.csv"}


def test_the_good_files_are_stored_and_each_bad_one_gets_its_line(path: Path, good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"results": {"arc": ', encoding="utf-8")
    done = run_core("scores", "import", str(bad), str(tmp_path / "none.csv"), str(good), warehouse=path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 2 and all(line.startswith("workdim: ") for line in lines)
    assert "bad.json" in lines[0] and "none.csv" in lines[1]
    assert names(path) == ["good.csv"]


def test_a_folder_gives_what_a_harness_wrote_below_it(path: Path, tmp_path: Path) -> None:
    below = tmp_path / "out" / "HuggingFaceTB__SmolLM2-135M"
    below.mkdir(parents=True)
    results = {
        "results": {"piqa": {"alias": "piqa", "acc,none": 0.7}},
        "configs": {},
        "versions": {"piqa": 1},
        "n-shot": {"piqa": 0},
        "config": {"model": "hf"},
        "model_name": BIG,
    }
    (below / "results_2025-01-01T00-00-00.json").write_text(json.dumps(results), encoding="utf-8")
    (below / "notes.txt").write_text("no scores", encoding="utf-8")
    done = run_core("scores", "import", str(tmp_path / "out"), "--json", warehouse=path)
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["stored"]["n_taken"] == 1 and told["models"][0]["is_measured"]
    empty = run_core("scores", "import", str(path.parent / "parcels"), warehouse=path)
    assert empty.returncode == 2 and "There is no results*.json" in empty.stderr


def test_answers_of_an_early_harness_are_told_their_benchmark(path: Path) -> None:
    (early,) = Path(__file__).parent.glob("genuine/0.4.2/*choice_a.jsonl")
    bare = run_core("scores", "import", str(early), warehouse=path)
    assert bare.returncode == 2 and bare.stderr.strip().endswith("--benchmark NAME does.")
    done = run_core("scores", "import", str(early), "--benchmark", "word_choice_a", warehouse=path)
    assert done.returncode == 0, done.stderr
    assert stored_scores.list_answer_sets(Warehouse(path))["benchmark"].unique().to_list() == ["word_choice_a"]


def test_a_name_is_mapped_with_the_import(path: Path, good: Path) -> None:
    wrong = run_core("scores", "import", str(good), "--model", "a=a", warehouse=path)
    assert wrong.returncode == 2 and "means itself" in wrong.stderr and names(path) == []
    done = run_core("scores", "import", str(good), "--model", f"HuggingFaceTB__SmolLM2-135M={BIG}", warehouse=path)
    assert done.returncode == 0 and "measured here: 2" in done.stdout
    assert queries.scores(Warehouse(path), [BIG]).filter(benchmark="piqa", value=70.0).height == 1


def test_a_mapping_of_a_name_that_no_file_has_is_told(path: Path, good: Path) -> None:
    done = run_core("scores", "import", str(good), "--dry-run", "--model", f"HugginFace/typo={BIG}", warehouse=path)
    assert "No file names a model 'HugginFace/typo'" in done.stderr
    right = run_core("scores", "import", str(good), "--dry-run", "--model", f"o/x={BIG}", warehouse=path)
    assert right.returncode == 0 and "o/x" not in right.stderr


def test_files_are_listed_and_removed(path: Path, good: Path) -> None:
    assert "None yet. Begin with `workdim scores import FILE`." in run_core("scores", "list", warehouse=path).stdout
    run_core("scores", "import", str(good), warehouse=path)
    (row,) = json.loads(run_core("scores", "list", "--json", warehouse=path).stdout)
    assert (row["file_name"], row["n_taken"], row["n_skipped"]) == ("good.csv", 2, 1)
    assert "good.csv" in run_core("scores", "list", warehouse=path).stdout
    unknown = run_core("scores", "remove", "zz", warehouse=path)
    assert unknown.returncode == 2 and "There is no file zz" in unknown.stderr
    assert "taken out" in run_core("scores", "remove", row["file_sha256"][:8], warehouse=path).stdout
    assert names(path) == []


def test_names_are_listed_set_and_removed(path: Path) -> None:
    done = run_core("scores", "alias", "ours", BIG, "--warehouse", str(path), warehouse=path.parent / "other.duckdb")
    assert done.returncode == 0 and "ours" in done.stdout and "yes" in done.stdout
    assert not (path.parent / "other.duckdb").exists()
    assert json.loads(run_core("scores", "alias", "--json", warehouse=path).stdout)[0]["reference"] == BIG
    assert run_core("scores", "alias", "ours", warehouse=path).returncode == 2
    chain = run_core("scores", "alias", "more", "ours", warehouse=path)
    assert chain.returncode == 2 and "' is an alias of '" in chain.stderr
    run_core("scores", "alias", "--remove", "ours", warehouse=path)
    assert list_aliases(Warehouse(path)).is_empty()


def test_a_table_with_names_as_screens_show_them_can_be_ranked_by(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("model,benchmark,metric,value\nmade-up-big,our own,acc,0.5\nmade-up-small,our own,acc,0.4\n")
    at = ("--warehouse", str(path))
    tried = run_core("scores", "import", str(file), "--dry-run", *at, warehouse=path)
    assert "2 of 2 (by name: 2)" in tried.stdout and list_aliases(Warehouse(path)).is_empty()
    assert "new aliases: 2" in tried.stdout
    done = run_core("scores", "import", str(file), *at, warehouse=path)
    assert "new aliases: 2" in done.stdout
    (command,) = re.findall("the ranking with this benchmark: `workdim (.*)`", done.stdout)
    ranked = run_core(*shlex.split(command), "--json", warehouse=path.parent / "other.duckdb")
    assert [model["score"] for model in json.loads(ranked.stdout)["models"]] == [50.0, 40.0]
    assert not json.loads(ranked.stdout)["has_score_errors"]
    run_core("scores", "alias", "--remove", "made-up-big", warehouse=path)
    assert list_aliases(Warehouse(path))["alias"].to_list() == ["made-up-small"]


def test_what_a_table_lacks_is_named(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("model,benchmark,metric,value\no/x,b,taste,0.5\no/x,b,acc,0.5\n")
    done = run_core("scores", "import", str(file), warehouse=path)
    assert "taste: which end is better? The page Choose asks" in done.stdout
    assert (
        "acc: which end" not in done.stdout
        and "None of this file's models is measured here: no ranking shows them" in done.stdout
    )


def test_all_names_that_are_likely_are_mapped_by_one_command(path: Path) -> None:
    scores = score_file(score("HuggingFaceTB__SmolLM2-135M"), score("MADE-UP/small"), score("x/unknown"))
    stored_scores.store_import(Warehouse(path), scores)
    done = run_core("scores", "alias", "--suggested", warehouse=path)
    assert done.returncode == 0 and "2 names were mapped" in done.stdout, done.stderr
    assert list_aliases(Warehouse(path))["alias"].to_list() == ["HuggingFaceTB__SmolLM2-135M", "MADE-UP/small"]
    both = run_core("scores", "alias", "a", "b", "--suggested", warehouse=path)
    assert both.returncode == 2 and "Give a name and its model" in both.stderr


def test_the_template_can_be_taken_in(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    assert run_core("scores", "template", "--out", str(file), warehouse=path).returncode == 0
    there = run_core("scores", "template", "--out", str(file), warehouse=path)
    assert there.returncode == 2 and "is there already" in there.stderr
    done = run_core("scores", "import", str(file), warehouse=path)
    assert done.returncode == 0 and "stored." in done.stdout


def test_two_models_are_compared(path: Path) -> None:
    nothing = run_core("scores", "compare", "o/a", "o/b", "--benchmark", "arc_easy", warehouse=path)
    assert nothing.returncode == 2 and "jsonl of lm-evaluation-harness, or score models yourself" in nothing.stderr
    for model, right in (("o/a", 1), ("o/b", 0)):
        samples = answers(model, {f"q{n}": right if n < 20 else 1 for n in range(30)})
        stored_scores.store_import(Warehouse(path), score_file(samples=samples, name=model))
    done = run_core("scores", "compare", "o/a", "o/b", "--benchmark", "arc_easy", warehouse=path)
    assert done.returncode == 0, done.stderr
    assert "over 30 questions" in done.stdout and "The difference exceeds chance" in done.stdout
    (told,) = json.loads(
        run_core("scores", "compare", "o/a", "o/b", "--benchmark", "arc_easy", "--json", warehouse=path).stdout
    )
    assert told["only_a_right"] == 20 and told["is_told_apart"] and told["difference"] == pytest.approx(2 / 3)
    assert "several files" not in done.stdout
    stored_scores.store_import(Warehouse(path), score_file(samples=answers("o/a", {"q0": 1, "q1": 0}), name="again"))
    again = run_core("scores", "compare", "o/a", "o/b", "--benchmark", "arc_easy", warehouse=path)
    assert "over 2 questions" in again.stdout and "the last imported counts: arc_easy." in again.stdout
    other = run_core("scores", "compare", "o/a", "o/b", "--benchmark", "piqa", warehouse=path)
    assert other.returncode == 2 and "Answered: arc_easy acc" in other.stderr
    unknown = run_core("scores", "compare", "o/a", "o/c", "--benchmark", "arc_easy", warehouse=path)
    assert unknown.returncode == 2 and "Unknown model with single answers 'o/c'. Did you mean" in unknown.stderr


def test_a_device_is_no_file_of_people(path: Path) -> None:
    for verb in ("scores import /dev/zero", "trace /dev/zero", "slides --out x.pptx --template /dev/zero"):
        done = run_core(*verb.split(), warehouse=path)
        assert done.returncode == 2 and "/dev/zero is no regular file" in done.stderr and done.stderr.count("\n") == 1


def test_a_blank_is_no_benchmark(path: Path) -> None:
    for verb in ("rank", "scores import x.csv", "scores compare a b"):
        done = run_core(*verb.split(), "--benchmark", "  ", warehouse=path)
        assert done.returncode == 2 and "a name was expected, not blanks" in done.stderr
        assert done.stderr.count("\n") == 1


HOSTILE = {
    "cut.json": b'{"results": {"arc": {"acc,none": 0.5',
    "wrong.json": b'{"results": [1, 2, {"acc": 3}], "config": "x", "model_name": 7}',
    "nan.json": b'{"results": {"arc": {"acc,none": NaN}}, "model_name": "o/x", "config": {}}',
    "deep.json": b'{"results": ' + b"[" * 100_000,
    "long.json": b'{"results": {"' + b"x" * 10_000_000 + b'": {"acc,none": 0.5}}, "model_name": "o/x"}',
    "own.csv": b"model,benchmark,metric,value,unit,source\no/x,b,acc,5,percent,a\no/y,b,acc,5,percent,pilot:p-1\n",
    "bytes.csv": b"model,benchmark,metric,value\n\x00\xff\xfe\x80,arc,acc,50\n",
    "book.csv": b"PK\x03\x04" + b"\x00" * 100,
    "empty.csv": b"",
}


def test_hostile_files_store_nothing(path: Path, tmp_path: Path) -> None:
    def counts() -> list[int]:
        tables = (*stored_scores.TABLES, "model_aliases")
        return [Warehouse(path).read(f"SELECT count(*) FROM {table}").item() for table in tables]

    folder = tmp_path / "hostile"
    folder.mkdir()
    for name, content in HOSTILE.items():
        (folder / name).write_bytes(content)
    with (folder / "huge.csv").open("wb") as file:
        file.truncate(400 * 2**20)  # nothing of it is on the disk, and nothing of it is read
    before = counts()
    done = run_core("scores", "import", *map(str, sorted(folder.iterdir())), warehouse=path)
    assert done.returncode == 2 and counts() == before, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(HOSTILE) + 1 and all(line.startswith("workdim: ") for line in lines), lines
    assert all(len(line) < 600 for line in lines)
