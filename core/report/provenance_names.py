"""What every stored field of a run is called, section by section; the English name is the message of the catalogues.

The names stand where the fields are declared: columns in core.tables, parts of the request and of the protocol in
core.records.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.records import RunConfig
from core.registry.protocols import Protocol
from core.registry.settings import settings
from core.tables import TABLES


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


TITLES = {
    "run": _("Run"),
    "model": _("Model"),
    "text": _("Text"),
    "protocol": _("Protocol"),
    "tokens": _("Tokens asked for, read and left out"),
    "machine": _("Machine, memory, time"),
    "programs": _("Programs"),
    "request": _("Request"),
}
"""Section -> its title, in the order that they are shown in."""
PREFIXES = {
    "config.protocol.": "protocol",
    "config.run.": "request",
    "config": "request",
    "execution": "machine",
    "phase_seconds": "machine",
    "library_versions": "programs",
}
"""Where a part of a JSON field stands that has no name of its own: an installation may have packages that we lack."""


def _declared() -> Iterator[tuple[str, str, str, str, str]]:
    """(section, field, name, kind of its values, unit) of everything that is declared of a run."""
    for table in (TABLES["models"], TABLES["corpora"], TABLES["runs"]):
        for column in table.columns:
            said = column.declared
            section = said.section or table.section
            if said.screen:
                field = column.name if said.key else table.prefix + column.name
                yield section, field, said.screen, said.values, said.unit
            for part, name in said.parts.items():
                yield section, f"{column.name}.{part}", name, "", ""
    for prefix, record in (("config.protocol.", Protocol), ("config.run.", RunConfig)):
        for name, setting in settings(record).items():
            yield setting.section or PREFIXES[prefix], prefix + name, setting.screen, "", setting.unit


_DECLARED = tuple(_declared())
SECTIONS: dict[str, tuple[str, dict[str, str]]] = {
    key: (title, {field: name for section, field, name, _values, _unit in _DECLARED if section == key})
    for key, title in TITLES.items()
}
"""Section -> its title, and its fields in their order. Fields that no section names come in by `PREFIXES`."""
NAMES = {field: name for _section, field, name, _values, _unit in _DECLARED}
KINDS = {field: values for _section, field, _name, values, _unit in _DECLARED if values}
"""Fields whose values have names of ours, and the kind that these names are of."""
BYTES = tuple(field for _section, field, _name, _values, unit in _DECLARED if unit == "bytes")
"""Fields that count bytes and are told in GB."""
REASONS = {
    "pass": _("kind of pass"),
    "kind": _("kind of model"),
    "stack": _("part of the model"),
    "corpus_id": _("text"),
    "protocol_hash": _("protocol or seed"),
    "dtype": _("number format"),
    "tokenizer_hash": _("tokenizer"),
    "n_points": _("number of points"),
}
"""What may forbid to compare two runs."""
