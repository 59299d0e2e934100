"""Names that score files use for models, and the model each stands for.

Aliases are resolved when scores are read, so that an edit takes effect at once on everything imported before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl

from core.errors import InputError, Sentence
from core.store import user_files
from core.tables import PILOT_SOURCE, TABLES, ModelAliasRow
from core.warehouse.warehouse import Warehouse

_KIND = "alias"
MAX_NAME_LENGTH = 500
# A user's own score is filed under the reference as measured: no alias moves it.
RESOLVED_SCORES = f"""
    (SELECT scores.* REPLACE (coalesce(model_aliases.reference, scores.repository) AS repository),
        scores.repository AS name_in_source
    FROM scores LEFT JOIN model_aliases
        ON model_aliases.alias = scores.repository AND NOT starts_with(scores.source, '{PILOT_SOURCE}'))
"""
"""The table of scores with `repository` resolved; `name_in_source` is the name in the source."""


def list_aliases(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of model_aliases by name, with `is_measured` and `n_scores`, the scores under that name."""
    return warehouse.read("""
        SELECT model_aliases.*,
            EXISTS (FROM models WHERE models.reference = model_aliases.reference
                OR models.repository = model_aliases.reference) AS is_measured,
            (SELECT count(*) FROM scores WHERE scores.repository = alias) AS n_scores
        FROM model_aliases ORDER BY alias
    """)


def set_aliases(warehouse: Warehouse, wanted: Mapping[str, str], remove: Iterable[str] = ()) -> None:
    """Add or change aliases and remove others, all or none.

    Raises InputError, and changes nothing, if a name is empty, stands for itself, or for another alias.
    """
    wanted = {
        _validated_name(alias, Sentence("name")): _validated_name(reference, Sentence("model"))
        for alias, reference in wanted.items()
    }
    removed, folder = set(remove), warehouse.folder
    with warehouse.update(_KIND, *map(user_files.hash_name, {*wanted, *removed})) as connection:
        known = dict(connection.execute("SELECT alias, reference FROM model_aliases").fetchall())
        missing = sorted(set(removed) - known.keys())
        if missing:
            raise InputError(
                "There is no alias '{missing}'. `workdim scores alias` lists those that are there.",
                missing=_shortened(missing[0]),
            )
        after = {alias: reference for alias, reference in known.items() if alias not in removed} | dict(wanted)
        _check_aliases(after)
        now = datetime.now(UTC)
        for alias, reference in wanted.items():
            if known.get(alias) != reference:
                row = TABLES["model_aliases"].frame([ModelAliasRow(alias, reference, now)])
                user_files.write(folder, _KIND, user_files.hash_name(alias), {"model_aliases": row})
        for alias in set(removed) - wanted.keys():
            user_files.delete(folder, _KIND, user_files.hash_name(alias))


def _check_aliases(aliases: Mapping[str, str]) -> None:
    for alias, reference in aliases.items():
        if alias == reference:
            raise InputError(
                "'{alias}' means itself already. Name the model that it stands for.", alias=_shortened(alias)
            )
        if reference in aliases:
            raise InputError(
                "'{alias}' would mean '{reference}', which is itself an alias of '{after}'. Name that model instead: "
                "aliases make no chains.",
                alias=_shortened(alias),
                reference=_shortened(reference),
                after=_shortened(aliases[reference]),
            )


def _validated_name(name: str, what: str) -> str:
    """The name without outer blanks. Raises InputError for an invalid one."""
    name = name.strip()
    if not name:
        raise InputError("An alias needs a name and a model; the {what} is empty.", what=what)
    if len(name) > MAX_NAME_LENGTH:
        raise InputError(
            "'{name}' has {n_name:,} letters; a {what} has at most {most_letters}.",
            name=_shortened(name),
            n_name=len(name),
            what=what,
            most_letters=MAX_NAME_LENGTH,
        )
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise InputError(
            "'{name}' holds a control character: a {what} is one line of text.", name=_shortened(name), what=what
        )
    if what == "model" and re.search(r".@[^/]*$", name):
        raise InputError(
            "'{name}' names a revision. Leave @ and what follows out: scores carry their own.", name=_shortened(name)
        )
    return name


def _shortened(name: str) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    return line if len(line) <= 80 else line[:79] + "…"
