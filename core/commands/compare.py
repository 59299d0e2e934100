"""The verb compare: which of several models reads a text best, and may their dimensions be compared?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.commands.context import existing_warehouse, selected_warehouse, show_records, warn
from core.commands.jobs import report_unfinished, request_of, run_each
from core.commands.measure import show_terms
from core.errors import InputError
from core.locale import in_language
from core.questions import runs as run_question
from core.questions.record import as_record
from core.questions.runs import RECORD, Comparison
from core.records import RunConfig
from core.runs.estimates import with_readable_companions
from core.runs.jobs import JobStatus, remove_job
from core.terminal.tables import table
from core.texts.sample import open_text
from core.warehouse.warehouse import Warehouse
from core.wording import runs as run_wording


def compare(options: argparse.Namespace) -> int:
    """What is missing is measured where a text is named; the exit code is that of a measurement that fails."""
    if options.corpus is None:
        warehouse = existing_warehouse(options)
        run_ids = run_question.find_runs(warehouse, options.models)
    else:
        warehouse = selected_warehouse(options)
        run_ids, code = _measured(options, warehouse)
        if code:
            return code
    comparison = run_question.ask_comparison(warehouse, run_ids)
    sentence = in_language("en", run_wording.comparison_text, comparison)
    show_records(options, {"sentence": sentence, **as_record(comparison, RECORD)}, lambda: comparison_lines(comparison))
    return 0


def _measured(options: argparse.Namespace, warehouse: Warehouse) -> tuple[list[str], int]:
    """The runs of the models on the text, in their order, and the worst exit code; measured together, so that their words are
    the same."""
    if len(dict.fromkeys(options.models)) < 2:
        raise InputError("Two models or more are compared: name another one.")
    request = request_of(RunConfig, options, model="")
    open_text(request)
    show_terms(options.models, warn)
    run_ids: dict[str, None] = {}

    def report(status: JobStatus) -> int:
        if status.state != "finished":
            return report_unfinished(status)
        if waits := status.result.get("waits"):
            warn(waits)
            return 1
        run_ids[status.result["run_id"]] = None
        remove_job(status.job)
        return 0

    code = run_each(with_readable_companions(request, options.models, warehouse), warehouse, report)
    return list(run_ids), code


def comparison_lines(comparison: Comparison) -> Sequence[str]:
    """The answer, a line for each model, and what may be compared."""
    lines = [run_wording.comparison_text(comparison), ""]
    lines += table(run_wording.comparison_heads(comparison), run_wording.comparison_rows(comparison))
    notes = run_wording.comparison_note_lines(comparison)
    return [*lines, *([""] if notes else []), *notes]
