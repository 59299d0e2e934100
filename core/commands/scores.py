"""Verbs for scores: compute them on a task, import, list and remove files, map names, compare two models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from core.commands.context import command, existing_warehouse, fail, selected_warehouse, warn
from core.commands.jobs import report_end, report_unfinished, run_job
from core.commands.measure import show_terms
from core.errors import InputError, Sentence, sentences, unknown_name
from core.files import read_whole
from core.locale import worded
from core.records import bytes_of
from core.terminal.output import heads, say, say_json

FOLDER_PATTERNS = ("results*.json", "samples_*.jsonl", ".eval_results/*.yaml")
"""Files that a harness writes below its output folder, and results in a model repository."""
MOST_NAMES = 12
"""Names that a message lists at most."""


def score(options: argparse.Namespace) -> int:
    """Score one model after the other, each in its own process; a failed one does not stop the next."""
    from core.runs.execution import load_scores
    from core.runs.jobs import remove_job, submit
    from core.runs.recovery import recover
    from core.runs.requests import scoring_requests
    from core.terminal.tables import scored_record

    warehouse = selected_warehouse(options)
    budget = bytes_of(options.memory_budget)
    settings = {"dtype": options.dtype, "device": options.device, "memory_budget": budget}
    configs = scoring_requests(options.models, options.task, **settings)
    show_terms(options.models, warn if options.json else say)
    warehouse.prepare()
    recover(warehouse)
    codes, records = [0], []
    for number, config in enumerate(configs, 1):
        if not options.json:
            model, task, total = config.model, options.task.name, len(configs)
            say(Sentence("Scoring {model} on {task} ({n} of {of})", model=model, task=task, n=number, of=total))
        try:
            status = run_job(submit(config, warehouse), warehouse)
            if not options.json:
                codes.append(report_end(status, warehouse))
            elif status.state != "finished":
                codes.append(report_unfinished(status))
            else:
                records.append(scored_record(status.result, load_scores(status, warehouse)))
                remove_job(status.job)
        except InputError as error:
            codes.append(fail(error))
    if options.json:
        say_json(records)
    return 1 if 1 in codes else max(codes)  # a failure of ours (1) outweighs a request that cannot be met (2)


def import_files(options: argparse.Namespace) -> int:
    """Store each file whole or not at all; an unreadable one does not stop the others.

    Exit code 2 if a file that was named is not stored, or if a folder yields nothing. Single files of a folder may be
    skipped, because a harness also leaves files without scores.
    """
    from core.scores.reader import read_scores
    from core.scores.score_input import BENCHMARK, MAX_BYTES, MODEL, Unnamed
    from core.terminal import score_import
    from core.warehouse import aliases as alias_table
    from core.warehouse import score_imports

    warehouse = selected_warehouse(options)
    renamed, model = _parse_models(options.model)
    overrides = {key: name for key, name in ((MODEL, model), (BENCHMARK, options.benchmark)) if name}
    previews: list[score_imports.ImportPreview] = []
    failed_files: list[InputError] = []
    left_out_files: list[InputError] = []
    for file, is_named in _files(options.files):
        try:
            file_scores = read_scores(
                _display_name(file), read_whole(file, Sentence("score file"), MAX_BYTES), overrides
            )
            previews.append(score_imports.preview_import(warehouse, file_scores, renamed))
        except Unnamed as error:
            option = "--model" if error.key == MODEL else "--benchmark"
            (failed_files if is_named else left_out_files).append(
                InputError(sentences(error.message, Sentence("{option} NAME does.", option=option)))
            )
        except InputError as error:
            (failed_files if is_named else left_out_files).append(error)
    model_names = {name for item in previews for name in (*item.names["name"], *item.rows["model"])}
    for name in renamed.keys() - model_names:
        warn(Sentence("No file names a model '{name}', as --model says: check its spelling.", name=name))
    stored = None
    if not options.dry_run and previews and _confirm_import(options, previews):
        if renamed:
            alias_table.set_aliases(warehouse, renamed)
        stored = []
        for preview in previews:
            try:
                stored.append(score_imports.store_import(warehouse, preview.file, preview.aliases))
            except InputError as error:
                failed_files.append(error)
    if options.json:
        say_json(score_import.import_records(previews, {item.file_sha256: asdict(item) for item in stored or ()}))
    else:
        is_new_by_file = None if stored is None else {item.file_sha256: item.is_new for item in stored}
        for preview in previews:
            say(
                *score_import.import_lines(
                    preview, is_new_by_file, score_imports.scored_here(preview), partial(command, options)
                )
            )
        if len(previews) > 1 and stored is not None:
            new_imports = [item for item in stored if item.is_new]
            scores, answers = sum(item.n_taken for item in new_imports), sum(item.n_samples for item in new_imports)
            say(
                Sentence(
                    "{n} file stored: {scores:,} scores and {answers:,} single answers.",
                    "{n} files stored: {scores:,} scores and {answers:,} single answers.",
                    n=len(new_imports),
                    scores=scores,
                    answers=answers,
                )
            )
    for reason in failed_files + left_out_files:
        fail(reason)
    if left_out_files and previews:
        warn(
            Sentence(
                "{n} of the files that folders hold was left out; the others count.",
                "{n} of the files that folders hold were left out; the others count.",
                n=len(left_out_files),
            )
        )
    return InputError.exit_code if failed_files or (left_out_files and not previews) else 0


def list_files(options: argparse.Namespace) -> int:
    from core.terminal.tables import table
    from core.warehouse import score_imports

    files = score_imports.list_imports(existing_warehouse(options))
    if options.json:
        say_json(files.to_dicts())
    elif files.is_empty():
        say(Sentence("No file of scores was imported yet: workdim scores import FILE"))
    else:
        head = heads("file", "name", "format", "scores", "skipped", "answers", "models", "imported (UTC)")
        rows = [
            (
                row["file_sha256"][:12],
                row["file_name"],
                row["format"],
                row["n_taken"],
                row["n_skipped"],
                row["n_samples"],
                row["n_models"],
                f"{row['imported_at']:%Y-%m-%d %H:%M}",
            )
            for row in files.iter_rows(named=True)
        ]
        say(*table(head, rows))
    return 0


def remove_file(options: argparse.Namespace) -> int:
    from core.warehouse import score_imports

    file = score_imports.remove_import(existing_warehouse(options), options.file_sha)
    say(Sentence("{file} was taken out of the warehouse.", file=file))
    return 0


def write_template(options: argparse.Namespace) -> int:
    from core.scores.plain_csv import template

    if options.out is None:
        sys.stdout.buffer.write(template())
        return 0
    try:
        with options.out.open("xb") as file:
            file.write(template())
    except FileExistsError as error:
        raise InputError("{out} is there already. Name another file with --out.", out=options.out) from error
    except OSError as error:
        raise InputError(
            "{out} cannot be written: {reason}. Name another file with --out.", out=options.out, reason=error.strerror
        ) from error
    say(Sentence("{file}: fill it in and take it in with `workdim scores import {file}`.", file=options.out))
    return 0


def aliases(options: argparse.Namespace) -> int:
    from core.terminal.tables import table
    from core.warehouse import aliases as alias_table

    if options.name is not None and (options.suggested or options.remove is not None):
        raise InputError("Give either a name and its model, or --remove NAME, or --suggested.")
    if options.suggested:
        from core.warehouse.score_answers import map_suggested

        mapped = map_suggested(existing_warehouse(options))
        if not options.json:
            say(Sentence("{n} name was mapped.", "{n} names were mapped.", n=len(mapped)))
    elif options.remove is not None:
        alias_table.set_aliases(existing_warehouse(options), {}, [options.remove])
    elif options.reference is not None:
        alias_table.set_aliases(selected_warehouse(options), {options.name: options.reference})
    elif options.name is not None:
        raise InputError(
            "Which model does '{name}' mean? Give its repository or reference after the name.", name=options.name
        )
    all_aliases = alias_table.list_aliases(existing_warehouse(options))
    if options.json:
        say_json(all_aliases.to_dicts())
    elif all_aliases.is_empty():
        say(Sentence("No name means another model: workdim scores alias NAME REFERENCE"))
    else:
        rows = [
            (row["alias"], row["reference"], Sentence("yes") if row["is_measured"] else Sentence("no"), row["n_scores"])
            for row in all_aliases.iter_rows(named=True)
        ]
        say(*table(heads("name", "means", "measured here", "scores"), rows))
    return 0


def compare(options: argparse.Namespace) -> int:
    from core.analysis.paired import compare_all_answers
    from core.figures import scores as score_figures
    from core.warehouse import score_answers
    from core.wording import scores as score_wording

    if options.models[0] == options.models[1]:
        raise InputError("{first} is named twice. Name two models.", first=options.models[0])
    warehouse = existing_warehouse(options)
    answer_sets = score_answers.list_answer_sets(warehouse)
    if answer_sets.is_empty():
        raise InputError(
            "There are no single answers yet: import the samples_*.jsonl files of lm-evaluation-harness, or score models on "
            "a task of your own (workdim score)."
        )
    known_models = set(answer_sets["model"])
    models = [_find_model(name, known_models, warehouse) for name in options.models]
    if models[0] == models[1]:
        raise InputError(
            "{first} and {second} are one model, {model}. Name two models.",
            first=options.models[0],
            second=options.models[1],
            model=models[0],
        )
    a, b = (score_answers.answers(warehouse, model, options.benchmark) for model in models)
    comparisons = [
        (key, comparison)
        for key, comparison in compare_all_answers(a, b)
        if options.metric is None or key["metric"] == options.metric
    ]
    if not comparisons:
        own_sets = [row for row in answer_sets.to_dicts() if row["model"] in models]
        available = sorted({f"{row['benchmark']} {row['metric']}" for row in own_sets})
        requested = " ".join(part for part in (options.benchmark, options.metric) if part)
        further = (
            [Sentence("{n_there} more", n_there=len(available) - MOST_NAMES)] if len(available) > MOST_NAMES else []
        )
        raise InputError(
            "The two have no question of {asked} in common. Answered: {there}.",
            asked=requested,
            there=[*available[:MOST_NAMES], *further],
        )
    if options.json:
        verdicts = [
            {"difference": comparison.difference, "is_told_apart": comparison.is_told_apart}
            for _, comparison in comparisons
        ]
        say_json(
            [
                key | asdict(comparison) | further
                for (key, comparison), further in zip(comparisons, verdicts, strict=True)
            ]
        )
        return 0
    first, second = models
    for key, comparison in comparisons:
        first_line, *others = score_wording.comparison_lines(
            score_figures.benchmark_label(key), first, second, comparison
        )
        say(first_line, *(f"  {line}" for line in others))
    if len(comparisons) > 1:
        say(score_wording.multiple_comparisons_text(len(comparisons)))
    own_answers = answer_sets.filter(answer_sets["model"].is_in(models), benchmark=options.benchmark)
    if own_answers.filter(own_answers["n_files"] > 1).height:
        say(score_wording.newest_file_text([options.benchmark]))
    return 0


def _find_model(name: str, models: set[str], warehouse) -> str:
    """The requested model with single answers, by its own name or by a name that `runs` prints for a measured model.

    Raises InputError if none or several match.
    """
    from core.warehouse import queries

    if name in models:
        return name
    names = {
        run[key]
        for run in queries.runs(warehouse).iter_rows(named=True)
        if name in (run["name"], run["model_id"], run["reference"])
        for key in ("repository", "reference")
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
            "--model {model}: only one can be the model of files that name none. Write NAME=REFERENCE.",
            model=unnamed[1],
        )
    return renamed, unnamed[0] if unnamed else None


def _confirm_import(options: argparse.Namespace, previews) -> bool:
    """Whether to import; asks only at a terminal, so that scripts run without a question."""
    if options.yes or options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    question = Sentence(
        "{scores:,} scores of {n} file would be stored (--dry-run shows them). Store? [Y/n] ",
        "{scores:,} scores of {n} files would be stored (--dry-run shows them). Store? [Y/n] ",
        scores=sum(preview.rows.filter(preview.rows["fate"] != "skipped").height for preview in previews),
        n=len(previews),
    )
    print(worded(question), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("", "y", "yes"):
        return True
    warn(Sentence("nothing was stored."))
    return False
