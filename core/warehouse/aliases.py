"""Names that score files use for models, and which model is meant. Resolved whenever scores are read, so that an edit
acts at once on all that was imported before."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl

from core.errors import InputError, Sentence
from core.store import people
from core.tables import PILOT_SOURCE, TABLES, ModelAliasRow
from core.warehouse.warehouse import Warehouse

_KIND = "alias"
MOST_LETTERS = 500
# A user's own score is filed under the reference as measured: no alias moves it.
RESOLVED = f"""
    (SELECT scores.* REPLACE (coalesce(model_aliases.reference, scores.repository) AS repository),
        scores.repository AS name_in_source
    FROM scores LEFT JOIN model_aliases
        ON model_aliases.alias = scores.repository AND NOT starts_with(scores.source, '{PILOT_SOURCE}'))
"""
"""The table of scores with `repository` resolved; `name_in_source` is as the source has it."""


def aliases(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of model_aliases by name, with `is_measured` and `n_scores`, the scores that come under the name."""
    return warehouse.read("""
        SELECT model_aliases.*,
            EXISTS (FROM models WHERE models.reference = model_aliases.reference
                OR models.repository = model_aliases.reference) AS is_measured,
            (SELECT count(*) FROM scores WHERE scores.repository = alias) AS n_scores
        FROM model_aliases ORDER BY alias
    """)


def set_aliases(warehouse: Warehouse, wanted: Mapping[str, str], remove: Iterable[str] = ()) -> None:
    """Add or change these aliases and take `remove` away, all or none; InputError, and nothing is changed, where a
    name is empty, means itself, or leads to another alias."""
    wanted = {
        _clean(alias, Sentence("name")): _clean(reference, Sentence("model")) for alias, reference in wanted.items()
    }
    gone, folder = set(remove), warehouse.folder
    with warehouse.changing(_KIND, *map(people.id_of, {*wanted, *gone})) as connection:
        known = dict(connection.execute("SELECT alias, reference FROM model_aliases").fetchall())
        missing = sorted(set(gone) - known.keys())
        if missing:
            raise InputError(
                "There is no alias '{missing}'. `workdim scores alias` lists those that are there.",
                missing=_cut(missing[0]),
            )
        after = {alias: reference for alias, reference in known.items() if alias not in gone} | dict(wanted)
        _check(after)
        now = datetime.now(UTC)
        for alias, reference in wanted.items():
            if known.get(alias) != reference:
                row = TABLES["model_aliases"].frame([ModelAliasRow(alias, reference, now)])
                people.write(folder, _KIND, people.id_of(alias), {"model_aliases": row})
        for alias in set(gone) - wanted.keys():
            people.bury(folder, _KIND, people.id_of(alias))


def _check(after: Mapping[str, str]) -> None:
    for alias, reference in after.items():
        if alias == reference:
            raise InputError("'{alias}' means itself already. Name the model that it stands for.", alias=_cut(alias))
        if reference in after:
            raise InputError(
                "'{alias}' would mean '{reference}', which is itself an alias of '{after}'. Name that model instead: "
                "aliases make no chains.",
                alias=_cut(alias),
                reference=_cut(reference),
                after=_cut(after[reference]),
            )


def _clean(name: str, what: str) -> str:
    """The name without outer space; InputError where it cannot be one."""
    name = name.strip()
    if not name:
        raise InputError("An alias needs a name and a model; the {what} is empty.", what=what)
    if len(name) > MOST_LETTERS:
        raise InputError(
            "'{name}' has {n_name:,} letters; a {what} has at most {most_letters}.",
            name=_cut(name),
            n_name=len(name),
            what=what,
            most_letters=MOST_LETTERS,
        )
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise InputError(
            "'{name}' holds a control character: a {what} is one line of text.", name=_cut(name), what=what
        )
    if what == "model" and re.search(r".@[^/]*$", name):
        raise InputError(
            "'{name}' names a revision. Leave @ and what follows out: scores carry their own.", name=_cut(name)
        )
    return name


def _cut(name: str) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    return line if len(line) <= 80 else line[:79] + "…"
