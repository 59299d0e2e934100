"""Whatever the code can produce has a name in both languages, and every check, reason and qualifier a meaning."""

import ast
import re
from pathlib import Path

from core import wording
from core.analysis import claims, shape
from core.geometry.estimators import ESTIMATORS
from core.locale import in_language
from core.measure.profile import measure_profile
from core.records import RunConfig
from core.registry.checks import CHECKS
from core.registry.protocols import PROTOCOLS, SPECIFICATIONS
from core.wording import labels
from core.wording.verdicts import QUALIFIERS, REASONS


def qualifiers_written_in(module) -> set[str]:
    """Keys of the dictionaries of qualifiers, and strings that are put into a list: what a summary may store."""
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.endswith("qualifiers"):
            found |= {key for inner in ast.walk(node) if isinstance(inner, ast.Dict) for key in texts(inner.keys)}
        elif isinstance(node, ast.List):
            found |= texts(node.elts)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append":
            found |= texts(node.args)
            for choice in ast.walk(node):
                found |= texts([choice.body, choice.orelse]) if isinstance(choice, ast.IfExp) else set()
    return found


def texts(nodes) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


WORDED = [*QUALIFIERS.values(), *REASONS.values()]


def is_named(kind: str, key: str) -> bool:
    """A key without a name is shown as it is."""
    shown = labels.estimator_name(key) if kind == "estimator" else labels.name(kind, key)
    return (kind, key) in labels.NAMES or (kind == "estimator" and shown != key)


def assert_named(kind: str, keys) -> None:
    assert keys, f"there is no {kind} to look at"
    assert not [key for key in sorted(keys) if not is_named(kind, key)], f"{kind} without a name"


def test_estimators_protocols_and_their_passes_have_names():
    assert_named("estimator", ESTIMATORS)
    assert_named("protocol", PROTOCOLS)
    assert_named("pass", {"text"} | {pass_ for protocol in PROTOCOLS.values() for pass_ in protocol.passes})
    assert_named("cloud", {cloud for protocol in PROTOCOLS.values() for cloud in protocol.clouds})
    further = {name for protocol in PROTOCOLS.values() for name in protocol.more_estimators}
    assert_named("estimator", further)
    assert all("(scikit-dimension)" in wording.estimator_name(name) for name in further)


def test_checks_and_qualifiers_have_words():
    assert_named("check", set(CHECKS))
    assert not qualifiers_written_in(shape) - set(QUALIFIERS)


def test_reasons_have_words_and_a_meaning():
    tree = ast.parse(Path(claims.__file__).read_text(encoding="utf-8"))
    of_verdicts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Verdict"
    ]
    lists = [inner for node in of_verdicts for inner in ast.walk(node.args[1]) if isinstance(inner, ast.List)]
    given = {key for one in lists for inner in ast.walk(one) for key in texts([inner])}
    assert {"check_vetoed", "control_no_power"} <= given
    assert not given - set(REASONS)
    assert {f"axis_{one.axis}" for one in SPECIFICATIONS if one.is_core and one.axis} <= set(REASONS)


def test_whatever_a_measurement_stores_has_a_name(tiny_llama, tmp_path):
    profile = measure_profile(RunConfig(str(tiny_llama), "english-business"), "run", tmp_path, lambda _: None)
    assert_named("estimator", {row.estimator for row in profile.estimates})
    assert_named("transform", {row.transform for row in profile.estimates})
    assert_named("cloud", {row.cloud for row in profile.estimates} | {row.cloud for row in profile.correlators})
    assert_named("state", {row.state for row in profile.estimates})
    assert_named("correlator", {row.correlator for row in profile.correlators})
    assert_named("pair", {row.measure for row in profile.pairs})
    assert_named("quantity", {row.quantity for row in profile.distributions})
    assert_named("check", {row.check_name for row in profile.checks})
    assert_named("kind", {profile.model.kind})


def test_no_name_is_left_in_english_or_shown_as_it_is_stored():
    english = {key: labels.name(*key) for key in labels.NAMES}
    japanese = {key: in_language("ja", labels.name, *key) for key in labels.NAMES}
    assert english == labels.NAMES, "the English catalogue changes nothing"
    assert not [text for text in english.values() if re.search("[a-z]_[a-z]", text)]
    assert not [text for text in japanese.values() if not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text)]


def test_meanings_say_what_to_do_in_one_sentence_and_nothing_is_praised():
    meanings = [*(check.meaning for check in CHECKS.values()), *(meaning for _text, meaning in WORDED)]
    assert not [text for text in meanings if not text.endswith(".") or ". " in text]
    praise = re.compile("better|worse|best|intrinsic dimension (in|de)creas", re.IGNORECASE)
    assert not [
        text for text in [*labels.NAMES.values(), *meanings, *(text for text, _ in WORDED)] if praise.search(text)
    ]


def test_a_text_is_told_by_the_name_that_its_file_was_given():
    assert labels.text_name("warehouse/texts/0a1b2c3d4e5f/お知らせ.csv") == "お知らせ.csv"
    assert labels.text_name("python-docs") == "python-docs"
