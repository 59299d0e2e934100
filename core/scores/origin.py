"""What all values of one model in one file share, and the score rows that are made with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.registry.names import NOT_STATED
from core.scores.cells import Cell, Remarks, Skip, cut, label, optional_label
from core.scores.proposal import Proposed, Remark
from core.tables import ScoreRow

_LOCAL = re.compile(r"[/~.\\]|[A-Za-z]:[\\/]|file:")


@dataclass(frozen=True)
class Origin:
    repository: str
    file_sha256: str
    source: str
    suite: str
    revision: str | None = None
    as_of: str | None = None
    dtype: str | None = None
    chat_template: bool | None = None
    source_row: str | None = None
    licence: str = NOT_STATED
    flags: str = ""
    named: str = ""
    """The model as the file names it; stored is `repository`."""

    def score(
        self,
        benchmark: str,
        metric: str,
        value: float,
        unit: str,
        *,
        filter: str = NOT_STATED,
        n_shot: int | None = None,
        std_error: float | None = None,
        higher_is_better: bool | None = None,
        n_samples: int | None = None,
        is_partial: bool = False,
        is_group: bool = False,
        task_version: str | None = None,
    ) -> ScoreRow:
        return ScoreRow(
            repository=self.repository,
            revision=self.revision,
            benchmark=benchmark,
            metric=metric,
            filter=filter,
            n_shot=n_shot,
            suite=self.suite,
            value=value,
            std_error=std_error,
            unit=unit,
            higher_is_better=higher_is_better,
            n_samples=n_samples,
            is_partial=is_partial,
            is_group=is_group,
            source=self.source,
            licence=self.licence,
            as_of=self.as_of,
            flags=self.flags,
            file_sha256=self.file_sha256,
            dtype=self.dtype,
            chat_template=self.chat_template,
            task_version=task_version,
            source_row=self.source_row,
        )


def propose(at: str, model: Cell, benchmark: Cell, build: Callable[[Remarks], ScoreRow]) -> Proposed:
    """The row that `build` makes, or why it made none."""
    remarks: Remarks = []
    try:
        return Proposed(at, cut(model), cut(benchmark), build(remarks), None, tuple(remarks))
    except Skip as skip:
        return Proposed(at, cut(model), cut(benchmark), None, skip.remark, tuple(remarks))


def left_out(at: str, model: Cell, benchmark: Cell, code: str, detail: Cell = "") -> Proposed:
    """A place of the file where a score should be and nothing of a score is."""
    return Proposed(at, cut(model), cut(benchmark), None, Remark(code, cut(detail)))


def model_named(value: Cell, mapping: Mapping[str, str], remarks: Remarks) -> str:
    """The name to store a model under: as the file has it, unless the user gave another. Raises Skip without one."""
    found = label(value, "model")
    if found in mapping:
        remarks.append(Remark("renamed", found))
        return label(mapping[found], "model")
    if _LOCAL.match(found):
        remarks.append(Remark("local_path", cut(found)))
    return found


def dtype_named(value: Cell, remarks: Remarks) -> str | None:
    """`torch.bfloat16` -> bfloat16; `auto` says nothing."""
    found = optional_label(value, "dtype", remarks)
    return None if found is None or found == "auto" else found.removeprefix("torch.")


def joined(flags: Mapping[str, bool]) -> str:
    """The flags that hold, as the `flags` column lists them."""
    return ";".join(flag for flag, holds in flags.items() if holds)
