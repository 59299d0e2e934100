"""Verbs for scores: compute them on a task, import, list and remove files, map names, compare two models."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from core.analysis.differences import compare_all_answers
from core.commands.context import confirm, existing_warehouse, fail, show_records, warn, write_out
from core.commands.jobs import report_end, run_each
from core.commands.measure import show_terms
from core.errors import InputError, Sentence, nothing_yet, sentences, unknown_name
from core.figures.scores import benchmark_label
from core.files import read_whole
from core.locale import N_
from core.runs.execution import load_scores
from core.runs.jobs import remove_job
from core.runs.requests import scoring_requests
from core.scores import reader, score_rows
from core.scores.table import csv_template
from core.tables import Run, records
from core.terminal.output import heads, say, say_json, tell
from core.terminal.score_imports import import_lines, import_records
from core.terminal.tables import scored_record, table
from core.warehouse import aliases as alias_table
from core.warehouse import queries, stored_scores
from core.wording.labels import names_text
from core.wording.scores import comparison_lines, multiple_comparisons_text, newest_file_text

FOLDER_PATTERNS = ("results*.json", "samples_*.jsonl", ".eval_results/*.yaml")
"""Files that a harness writes below its output folder, and results in a model repository."""
MOST_NAMES = 12
"""Names that a message lists at most."""


def score(options: argparse.Namespace) -> int:
    warehouse = options.warehouse
    settings = {name: getattr(options, name) for name in ("dtype", "device", "memory_budget")}
    configs = scoring_requests(options.models, options.task, **settings)
    show_terms(options.models, warn if options.json else say)
    records = []

    def report(status) -> int:
        if not options.json:
            return report_end(status, warehouse)
        records.append(scored_record(status.result, load_scores(status, warehouse)))
        remove_job(status.job)
        return 0

    begun = "" if options.json else N_("Scoring {model} on {text} ({n} of {of})")
    code = run_each(configs, warehouse, report, begun)
    if options.json:
        say_json(records)
    elif code == 0:
        task = shlex.quote(options.task.stem)
        tell(
            "Next: `workdim scores compare MODEL MODEL --benchmark {task}`, `workdim choose --benchmark {task}`.",
            task=task,
        )
    return code


def import_(options: argparse.Namespace) -> int:
    """Store each file whole or not at all; an unreadable one does not stop the others.

    Exit code 2 if a file that was named is not stored, or if a folder yields nothing. Single files of a folder may be
    skipped, because a harness also leaves files without scores.
    """
    warehouse = options.warehouse
    renamed, model = _parse_models(options.model)
    overrides = {
        key: name for key, name in ((score_rows.MODEL, model), (score_rows.BENCHMARK, options.benchmark)) if name
    }
    previews: list[stored_scores.ImportPreview] = []
    failed: list[InputError] = []
    left_out: list[InputError] = []
    for file, is_named in _files(options.files):
        try:
            content = read_whole(file, Sentence("score file"), score_rows.MAX_BYTES)
            file_scores = reader.read_scores(_display_name(file), content, overrides)
            previews.append(stored_scores.preview_import(warehouse, file_scores, renamed))
        except InputError as error:
            told = error
            if isinstance(error, score_rows.Unnamed):  # also says which option names it
                option = "--model" if error.key == score_rows.MODEL else "--benchmark"
                told = InputError(sentences(error.message, Sentence("{option} NAME does.", option=option)))
            (failed if is_named else left_out).append(told)
    model_names = {name for item in previews for name in (*item.names["name"], *item.rows["model"])}
    for name in renamed.keys() - model_names:
        warn("No file names a model '{name}'.", name=name)
    question = Sentence(
        "Store {scores:,} scores (files: {n}; --dry-run shows them)?",
        scores=sum(preview.rows.filter(preview.rows["fate"] != "skipped").height for preview in previews),
        n=len(previews),
    )
    is_sure = options.yes or options.json or not (sys.stdin.isatty() and sys.stderr.isatty())  # scripts are not asked
    stored: dict[str, stored_scores.StoredImport] | None = None
    if not options.dry_run and previews and confirm(question, is_sure):
        if renamed:
            alias_table.set_aliases(warehouse, renamed)
        stored = {}
        for preview in previews:
            try:
                stored[preview.file.sha256] = stored_scores.store_import(warehouse, preview.file, preview.aliases)
            except InputError as error:
                failed.append(error)
    if options.json:
        say_json(import_records(previews, stored or {}))
    else:
        for preview in previews:
            say(*import_lines(preview, stored, stored_scores.scored_here(preview)))
    for reason in failed + left_out:
        fail(reason)
    return InputError.exit_code if failed or (left_out and not previews) else 0


def list_(options: argparse.Namespace) -> None:
    files = stored_scores.list_imports(existing_warehouse(options)).to_dicts()
    head = heads("file", "name", "format", "scores", "skipped", "answers", "models", "imported (UTC)")
    shown = ("file_name", "format", "n_taken", "n_skipped", "n_samples", "n_models")
    rows = [
        (row["file_sha256"][:12], *(row[name] for name in shown), f"{row['imported_at']:%Y-%m-%d %H:%M}")
        for row in files
    ]
    none = nothing_yet("scores import FILE")
    show_records(options, files, table(head, rows), none)


def remove(options: argparse.Namespace) -> None:
    file = stored_scores.remove_import(existing_warehouse(options), options.file_sha)
    tell("{file} was taken out of the warehouse.", file=file)


def template(options: argparse.Namespace) -> None:
    if options.out is None:
        sys.stdout.buffer.write(csv_template())
        return
    if options.out.exists():
        raise InputError("{out} is there already. Name another file with --out.", out=options.out)
    write_out(options.out, csv_template())
    tell("{file}: fill it in, then `workdim scores import {file}`.", file=options.out)


def alias(options: argparse.Namespace) -> None:
    if options.name is not None and (options.suggested or options.remove is not None):
        raise InputError("Give a name and its model, --remove NAME or --suggested.")
    if options.suggested:
        mapped = stored_scores.map_suggested(existing_warehouse(options))
        if not options.json:
            tell("{n} name was mapped.", "{n} names were mapped.", n=len(mapped))
    elif options.remove is not None:
        alias_table.set_aliases(existing_warehouse(options), {}, [options.remove])
    elif options.reference is not None:
        alias_table.set_aliases(options.warehouse, {options.name: options.reference})
    elif options.name is not None:
        raise InputError("Which model is '{name}'? Give its repository or reference after it.", name=options.name)
    known = alias_table.list_aliases(existing_warehouse(options))
    rows = [
        (alias, reference, Sentence("yes") if is_measured else Sentence("no"), n_scores)
        for alias, reference, is_measured, n_scores in known.select(
            "alias", "reference", "is_measured", "n_scores"
        ).iter_rows()
    ]
    none = nothing_yet("scores alias NAME REFERENCE")
    show_records(options, known.to_dicts(), table(heads("name", "means", "measured here", "scores"), rows), none)


def compare(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    answer_sets = stored_scores.list_answer_sets(warehouse)
    if answer_sets.is_empty():
        raise InputError(
            "No single answers yet: import samples_*.jsonl of lm-evaluation-harness, or score models "
            "yourself (workdim score)."
        )
    known_models = set(answer_sets["model"])
    first, second = models = [_find_model(name, known_models, warehouse) for name in options.models]
    if first == second:
        raise InputError("{names} are one model, {model}. Name two models.", names=options.models, model=first)
    a, b = (stored_scores.answers(warehouse, model, options.benchmark) for model in models)
    comparisons = [
        (key, comparison)
        for key, comparison in compare_all_answers(a, b)
        if options.metric is None or key.metric == options.metric
    ]
    if not comparisons:
        own_sets = answer_sets.filter(answer_sets["model"].is_in(models)).select("benchmark", "metric")
        available = sorted(set(map(" ".join, own_sets.iter_rows())))
        raise InputError(
            "The two have no question of {asked} in common. Answered: {there}.",
            asked=" ".join(part for part in (options.benchmark, options.metric) if part),
            there=names_text(available, MOST_NAMES),
        )
    found = [
        key._asdict()
        | asdict(comparison)
        | {name: getattr(comparison, name) for name in ("difference", "is_told_apart")}
        for key, comparison in comparisons
    ]

    def lines() -> Iterator[str]:
        for key, comparison in comparisons:
            first_line, *others = comparison_lines(benchmark_label(key), first, second, comparison)
            yield from (first_line, *(f"  {line}" for line in others))
        if len(comparisons) > 1:
            yield multiple_comparisons_text(len(comparisons))
        own_answers = answer_sets.filter(answer_sets["model"].is_in(models), benchmark=options.benchmark)
        if own_answers.filter(own_answers["n_files"] > 1).height:
            yield newest_file_text([options.benchmark])

    show_records(options, found, lines())


def _find_model(name: str, models: set[str], warehouse) -> str:
    """The requested model with single answers, by its own name or by a name that `runs` prints for a measured model.

    Raises InputError if none or several match.
    """
    if name in models:
        return name
    names = {
        called
        for run in records(queries.runs(warehouse), Run)
        if name in (run.name, run.model_id, run.reference)
        for called in (run.repository, run.reference)
    }
    names.add(name)  # a model that was scored here, named without its revision
    matches = sorted(model for model in models if model in names or model.partition("@")[0] in names)
    if len(matches) > 1:
        raise InputError("'{name}' may be one of these: {found}. Write which.", name=name, found=matches)
    if not matches:
        raise InputError(unknown_name("model with single answers", name, models))
    return matches[0]


def _files(paths: list[Path]) -> Iterator[tuple[Path, bool]]:
    """The named files, and harness output below named folders, each once; and whether the file itself was named.

    Raises InputError if there is no harness output below a folder.
    """
    seen = set()
    for path in paths:
        if path.is_dir():
            patterns = ("*.yaml",) if path.name == ".eval_results" else FOLDER_PATTERNS
            files = sorted(match for pattern in patterns for match in path.rglob(pattern) if match.is_file())
            if not files:
                raise InputError(
                    "There is no {kinds} below {path}. Name the files themselves.", kinds=FOLDER_PATTERNS, path=path
                )
        else:
            files = [path]
        for file in files:
            if (match := file.resolve()) not in seen:
                seen.add(match)
                yield file, not path.is_dir()


def _display_name(file: Path) -> str:
    """The file with its folder, which may name the model; in a model repository, with its five last parts."""
    path = file.absolute()
    return "/".join(path.parts[-5:]) if path.parent.name == ".eval_results" else f"{path.parent.name}/{file.name}"


def _parse_models(arguments: list[str]) -> tuple[Mapping[str, str], str | None]:
    """`NAME=REFERENCE` as aliases; an argument without `=` is the model of files that name none."""
    renamed = dict(argument.rsplit("=", 1) for argument in arguments if "=" in argument)
    unnamed = [argument for argument in arguments if "=" not in argument]
    if len(unnamed) > 1:
        raise InputError(
            "--model {model}: only one model can stand for files that name none. Write NAME=REFERENCE.",
            model=unnamed[1],
        )
    return renamed, unnamed[0] if unnamed else None
