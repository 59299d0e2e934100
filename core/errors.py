"""The errors that a person sees. One line each: what was asked, what is there, what to do.

WorkdimError                something went wrong that we can name (exit code 1)
  InputError                the request cannot be met as it stands (exit code 2)
    ModelError              a model that is missing, broken or refused
    CorpusError             a text that is missing, too short or wrongly encoded
    EstimateError           points that an estimator cannot work on
    ResourceError           no disk, no memory, no network
    WarehouseError          a warehouse file that cannot be used
      WarehouseLocked       another process holds it and did not let go in time
    QueryError              a typed SQL statement that was refused or failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkdimError(Exception):
    """Base of all errors with a message made for people."""

    exit_code = 1


class InputError(WorkdimError):
    exit_code = 2


class ModelError(InputError):
    pass


class CorpusError(InputError):
    pass


class EstimateError(InputError):
    pass


class ResourceError(InputError):
    pass


class WarehouseError(InputError):
    pass


class WarehouseLocked(WarehouseError):
    pass


class QueryError(InputError):
    pass


def unknown_name(kind: str, asked: str, available: Iterable[str]) -> str:
    """The message for a name that is not in a registry: near names first, then all of them."""
    names = sorted(available)
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return f"Unknown {kind} '{asked}'.{hint} Available: {', '.join(names)}."
