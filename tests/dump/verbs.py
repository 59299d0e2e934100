"""What every verb says: its help, and one session of work after the other, in each language and as records.

The verbs are asked of the parser: one that no line here uses, and that is not named in `NOT_RUN`, is an error.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from core.commands.main import Parser, build_parser
from core.registry.protocols import PROTOCOLS
from tests.conftest import run_core
from tests.dump.files import of_file
from tests.dump.texts import LANGUAGES, Folder
from tests.screens import RUN_IDS, VETOED

NOT_RUN = {
    "demo": "measures for minutes; what it says is what `measure` says",
    "app": "is the pages",
    "calibrate": "computes for minutes",
}
"""Verbs of which nothing but the help is told."""
NO_RECORDS_AFTER = ("measure", "pilot", "sql", "report", "ingest", "restore")
"""Verbs without records that no later line with records rests on."""
OF_THE_MACHINE = ("doctor", "cache")
"""Verbs whose every number is this machine's."""
_BIG, _SMALL, _OTHER_TEXT = RUN_IDS[0], RUN_IDS[1], RUN_IDS[3]
_SHIPPED = "01a21bfd-bbe7-7472-8a7f-ce53be58a827"
LINES = f"""
jobs
jobs cancel 0000
jobs resume 0000
jobs clear
measure tiny --text english-business --protocol small --device cpu --estimate-only
measure tiny --text english-business --protocol small --device cpu
measure tiny --text english-business --protocol small --device cpu
measure nowhere
pilot pilot.toml --estimate-only
pilot pilot.toml
pilot nowhere.toml
score tiny other --task task.jsonl --device cpu
scores compare local:tiny local:other --benchmark task
plan tiny --text english-business --device cpu --blocks 1 --verify --estimate-only
plan tiny --text english-business --device cpu --blocks 1 --verify --heal --mergekit plan.yaml
plan --list
plan --show 0199-healed
plan --show none
runs
runs list --tag reference --limit 9
runs list --pilot Demo
runs list --model nothing
runs show {_BIG}
runs show {VETOED}
runs show {_SHIPPED}
runs show 0000
runs diff {_BIG} {_SMALL}
runs diff {_BIG} {_OTHER_TEXT}
runs tag {_BIG} candidate "short list"
runs tag {_SMALL} candidate
runs untag {_BIG} "short list"
runs note {_BIG} "seen by us"
runs list --tag candidate
runs delete {VETOED} --yes
runs list --deleted
runs undelete {VETOED}
runs again {_BIG}
rank
rank --benchmark hellaswag --specifications --published
rank --benchmark ladder_code --specifications --published
rank --benchmark ladder_prose --dimension final
rank --family made-up
rank --benchmark nothing
compare {_BIG} {_SMALL}
compare {_BIG} {_OTHER_TEXT}
choose --models SmolLM2-135M-Instruct,gemma-3-270m-Q4_K_M-GGUF
choose --models nothing
within {_BIG}
within {_SHIPPED}
scores list
scores import good.csv --dry-run
scores import good.csv --yes
scores import bad.json --yes
scores list
scores template
scores alias
scores alias small made-up/small
scores alias --remove small
scores compare o/model-0 o/model-1 --benchmark arc
scores remove aaaaaaaaaaaa
rules
rules list "Small and good"
rules save rule.toml
rules apply "Small and light" --dry-run
rules apply "Small and light" --all --benchmark ladder_code
rules outcome choice-1 right --note "held in production"
rules list
rules delete small-and-light --yes
sql --schema
sql --schema runs
sql --examples
sql "SELECT name, kind, hidden_size FROM models ORDER BY ALL LIMIT 5"
sql "SELECT name, kind, hidden_size FROM models ORDER BY ALL LIMIT 5" --format csv
sql "DROP TABLE runs"
sql "SELECT nothing FROM runs"
sql --save "how many" "SELECT count(*) AS n FROM runs"
sql --list
sql --saved "how many"
sql --delete "how many"
slides --out pilot.pptx --pilot Tickets
slides --out runs.pptx --run {_BIG} --run {_SMALL} --keep "Two models"
slides --out runs.pptx --run 0000
report --out plan.html --plan 0199-healed --language ja --bundle rows.zip
report --out again.html --kept "Two models"
trace runs.pptx
reports
reports check "Two models"
reports delete "Two models" --yes
export --out study.zip --tag candidate
import study.zip --dry-run
import study.zip
doctor
cache
ingest
ingest --without-reference
ingest --rebuild
doctor --thorough
backup --out kept.zip
backup --list
restore kept.zip --yes
cache --clean copies --dry-run
rans
runs shwo
measure
rank --benchmrk x
"""
_SCORES = """model,benchmark,metric,value,unit
made-up/big,piqa,acc,61,percent
small,piqa,acc,70,percent
o/x,piqa,acc,much,percent
"""
_RULE = """name = "Small and light"
use_class = "general"

[[criteria]]
of = "dimension"
weight = 6.0

[[criteria]]
of = "parameters"
weight = 4.0
"""
_PILOT = """name = "Demo"
question = "Does the whole way work?"
use_class = "general"
models = ["tiny"]
texts = ["english-business"]
protocol = "small"

[benchmark]
name = "piqa"
metric = "acc"
direction = "higher"
expectation = "None."
sign = "none"
frozen = 2026-11-25
"""
_TASK = "".join(
    json.dumps({"prompt": f"{n} and one is", "choices": [f" {n + 1}", " none"], "answer": 0}) + "\n" for n in range(6)
)
_FILES = {"good.csv": _SCORES, "bad.json": "{", "rule.toml": _RULE, "pilot.toml": _PILOT, "task.jsonl": _TASK}


def leaves() -> dict[str, Parser]:
    """Every verb, and every action of a verb that has actions, with its parser."""
    top = build_parser()
    assert top.verbs is not None
    found = {}
    for name in top.verbs.names:
        parser = top.verbs._added.choices[name]
        if (inner := top.verbs.within(name)) is None:
            found[name] = parser
        else:
            found |= {f"{name} {action}": inner._added.choices[action] for action in inner.names}
    return found


def dump(folder: Folder, warehouse: Path, names: Iterable[str] | None = None) -> None:
    """`names`: of these verbs alone."""
    known = leaves()
    chosen = [(verb, words) for verb, words in _lines(known) if names is None or verb in names]
    told = {verb for verb, _words in chosen}
    if names is None and (missing := known.keys() - told - NOT_RUN.keys()):
        raise SystemExit(f"No line of tests/dump/verbs.py uses {', '.join(sorted(missing))}.")
    measures = any(word.startswith(("tiny", "pilot.")) for _verb, words in chosen for word in words)
    for language in LANGUAGES:
        said: dict[str, list[str]] = {}
        for verb in ["", *known] if names is None else names:
            help_ = run_core(*verb.split(), "--help", warehouse=warehouse, WORKDIM_LANGUAGE=language).stdout
            said[verb] = [f"$ workdim {verb} --help", *help_.splitlines()]
        with _desk(warehouse, measures=measures) as place:
            for verb, words in chosen:
                said.setdefault(verb, []).extend(["", *_answer(place, words, language)])
        _write(folder, said, f"{language}.txt")
    records: dict[str, list[str]] = {}
    with _desk(warehouse, measures=measures) as place:
        for verb, words in chosen:
            parser = known.get(verb)
            if parser is not None and "--json" in parser._option_string_actions:
                records.setdefault(verb, []).extend(_answer(place, [*words, "--json"], "en"))
            elif verb not in NO_RECORDS_AFTER:
                _answer(place, words, "en")
    _write(folder, records, "json")


def _write(folder: Folder, said: dict[str, list[str]], ending: str) -> None:
    for verb, lines in said.items():
        name = verb.replace(" ", "-") or "workdim"
        text = (re.sub(r" *\d[\d,.]*", " #", line) for line in lines) if verb in OF_THE_MACHINE else lines
        folder.write(f"verbs/{name}.{ending}", text, passing=True)


def _lines(known: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Each line under its verb: `runs` is `runs list`, and what is no verb stands with the overview."""
    for line in LINES.strip().splitlines():
        words = shlex.split(line)
        names = " ".join(words[:2]), words[0], f"{words[0]} list"
        yield next((name for name in names if name in known), ""), words


@contextmanager
def _desk(warehouse: Path, *, measures: bool) -> Iterator[Path]:
    """A copy of the warehouse beside the files that the lines name, as the folder where the verbs are called."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="desk-")))
        shutil.copytree(warehouse.parent, place, dirs_exist_ok=True)
        for name, text in _FILES.items():
            (place / name).write_text(text, encoding="utf-8")
        stack.enter_context(chdir(place))
        stack.enter_context(patch("secrets.token_hex", lambda n: "0" * 2 * n))  # the id of a choice
        if measures:
            stack.enter_context(_small_measurements(place))
        yield place


@contextmanager
def _small_measurements(place: Path) -> Iterator[None]:
    """A model, a protocol and texts of plans that take a second; torch is loaded only here."""
    from tests.plans.small import SIZES
    from tests.runs.small import MORE
    from tests.tiny import save_tiny_model

    for seed, name in enumerate(("tiny", "other")):
        save_tiny_model(place / name, seed=seed)
    with ExitStack() as stack:
        stack.enter_context(patch.dict(PROTOCOLS, MORE))
        for module, name, value in SIZES:
            stack.enter_context(patch.object(module, name, value))
        yield


def _answer(place: Path, words: list[str], language: str) -> list[str]:
    done = run_core(
        *words,
        warehouse=place / "workdim.duckdb",
        WORKDIM_LANGUAGE=language,
        COLUMNS="80",
        WORKDIM_CACHE=str(place / "cache"),
        HF_HUB_OFFLINE="1",
    )
    out = done.stdout
    if "--json" in words:
        with suppress(json.JSONDecodeError):  # some verbs have records of some of their answers alone
            out = json.dumps(json.loads(out, object_hook=_without_pace), indent=1, ensure_ascii=False)
    told = [f"$ workdim {shlex.join(words)}", *out.splitlines(), *(f"! {line}" for line in done.stderr.splitlines())]
    told = [line.replace(str(place), "<desk>") for line in told]
    if done.returncode != 0:
        return [*told, f"(exit {done.returncode})"]
    if "--out" in words:
        written = place / words[words.index("--out") + 1]
        told += [f"--- {written.name}", *of_file(written.name, written.read_bytes())]
    return told


def _without_pace(record: dict[str, Any]) -> dict[str, Any]:
    """What a measurement took is another each time."""
    return {key: "<measured>" if "seconds" in key or "memory" in key else field for key, field in record.items()}
