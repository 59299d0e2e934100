"""Verbs of scores: make them on a task, import files of them, list and remove files, map names, compare two models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from core.commands.context import chosen_warehouse, existing_warehouse, fail, warn
from core.commands.jobs import brought_to_end, tell_end, tell_unfinished
from core.commands.measure import tell_terms
from core.errors import InputError, Sentence, sentences, unknown_name
from core.records import bytes_of
from core.terminal.output import heads, language, say, say_json, told

IN_FOLDERS = ("results*.json", "samples_*.jsonl", ".eval_results/*.yaml")
"""What a harness writes below its output folder, and the results in a model repository."""
FEW = 12
"""Names that a message lists."""


def score(options: argparse.Namespace) -> int:
    """Score one model after the other, each in a process of its own; one that cannot be scored does not stop the next."""
    from core.runs import scoring
    from core.runs.jobs import remove_job, submit
    from core.runs.recovery import recover
    from core.terminal.tables import scored_record

    warehouse = chosen_warehouse(options)
    budget = bytes_of(options.memory_budget)
    asked = {"dtype": options.dtype, "device": options.device, "memory_budget": budget}
    configs = scoring.scoring_requests(options.models, options.task, **asked)
    tell_terms(options.models, warn if options.json else say)
    warehouse.prepare()
    recover(warehouse)
    codes, records = [0], []
    for number, config in enumerate(configs, 1):
        if not options.json:
            model, task, of = config.model, options.task.name, len(configs)
            say(Sentence("Scoring {model} on {task} ({n} of {of})", model=model, task=task, n=number, of=of))
        try:
            ended = brought_to_end(submit(config, warehouse), warehouse)
            if not options.json:
                codes.append(tell_end(ended, warehouse))
            elif ended.state != "finished":
                codes.append(tell_unfinished(ended))
            else:
                records.append(scored_record(ended.result, scoring.load_result(ended, warehouse)))
                remove_job(ended.job)
        except InputError as error:
            codes.append(fail(error))
    if options.json:
        say_json(records)
    return 1 if 1 in codes else max(codes)  # a failure of ours says more than a request that cannot be met


def take(options: argparse.Namespace) -> int:
    """Each file is stored whole or not at all; one that cannot be read keeps no other from being stored.

    Exit code 2 where a file that was named is not stored, or nothing came of a folder: a harness leaves files there that
    hold no scores.
    """
    from core.scores.reader import BENCHMARK, MODEL, Unnamed, read_scores
    from core.terminal import score_import
    from core.warehouse import aliases, score_imports

    warehouse = chosen_warehouse(options)
    renamed, model = _models(options.model)
    stated = {key: name for key, name in ((MODEL, model), (BENCHMARK, options.benchmark)) if name}
    previews: list[score_imports.ImportPreview] = []
    failed: list[InputError] = []
    left_out: list[InputError] = []
    for file, is_named in _files(options.files):
        try:
            found = read_scores(_shown(file), _content(file), stated)
            previews.append(score_imports.preview_import(warehouse, found, renamed))
        except Unnamed as error:
            option = "--model" if error.key == MODEL else "--benchmark"
            (failed if is_named else left_out).append(
                InputError(sentences(error.message, Sentence("{option} NAME does.", option=option)))
            )
        except InputError as error:
            (failed if is_named else left_out).append(error)
    named = {name for one in previews for name in (*one.names["name"], *one.rows["model"])}
    for name in renamed.keys() - named:
        warn(Sentence("No file names a model '{name}', as --model says: check its spelling.", name=name))
    stored = None
    if not options.dry_run and previews and _is_wanted(options, previews):
        if renamed:
            aliases.set_aliases(warehouse, renamed)
        stored = []
        for preview in previews:
            try:
                stored.append(score_imports.store_import(warehouse, preview.file))
            except InputError as error:
                failed.append(error)
    if options.json:
        say_json(score_import.as_records(previews, {one.file_sha256: asdict(one) for one in stored or ()}))
    else:
        new = None if stored is None else {one.file_sha256: one.is_new for one in stored}
        for preview in previews:
            say(*score_import.lines(preview.file, preview.rows, preview.names, preview.imported_at, new))
        if len(previews) > 1 and stored is not None:
            fresh = [one for one in stored if one.is_new]
            scores, answers = sum(one.n_taken for one in fresh), sum(one.n_samples for one in fresh)
            say(
                Sentence(
                    "{n} files stored: {scores:,} scores and {answers:,} single answers.",
                    n=len(fresh),
                    scores=scores,
                    answers=answers,
                )
            )
    for reason in failed + left_out:
        fail(reason)
    if left_out and previews:
        warn(Sentence("{n} of the files that folders hold were left out; the others count.", n=len(left_out)))
    return InputError.exit_code if failed or (left_out and not previews) else 0


def listed(options: argparse.Namespace) -> int:
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


def remove(options: argparse.Namespace) -> int:
    from core.warehouse import score_imports

    file = score_imports.remove_import(existing_warehouse(options), options.file)
    say(Sentence("{file} was taken out of the warehouse.", file=file))
    return 0


def write_template(options: argparse.Namespace) -> int:
    from core.scores.reader import template

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
    from core.warehouse import aliases as names

    if options.remove is not None:
        if options.name is not None:
            raise InputError("Give either a name and its model, or --remove NAME.")
        names.set_aliases(existing_warehouse(options), {}, [options.remove])
    elif options.reference is not None:
        names.set_aliases(chosen_warehouse(options), {options.name: options.reference})
    elif options.name is not None:
        raise InputError(
            "Which model does '{name}' mean? Give its repository or reference after the name.", name=options.name
        )
    known = names.list_aliases(existing_warehouse(options))
    if options.json:
        say_json(known.to_dicts())
    elif known.is_empty():
        say(Sentence("No name means another model: workdim scores alias NAME REFERENCE"))
    else:
        rows = [
            (row["alias"], row["reference"], Sentence("yes") if row["is_measured"] else Sentence("no"), row["n_scores"])
            for row in known.iter_rows(named=True)
        ]
        say(*table(heads("name", "means", "measured here", "scores"), rows))
    return 0


def compare(options: argparse.Namespace) -> int:
    from core.analysis.paired import compare_all_answers
    from core.figures import scores as paired_scores
    from core.warehouse import score_answers
    from core.wording import scores as score_sentences

    if options.models[0] == options.models[1]:
        raise InputError("{first} is named twice. Name two models.", first=options.models[0])
    warehouse = existing_warehouse(options)
    answered = score_answers.list_answer_sets(warehouse)
    if answered.is_empty():
        raise InputError(
            "There are no single answers yet: import the samples_*.jsonl files of lm-evaluation-harness, or score models on "
            "a task of your own (workdim score)."
        )
    known = set(answered["model"])
    models = [_answered_model(name, known, warehouse) for name in options.models]
    if models[0] == models[1]:
        raise InputError(
            "{first} and {second} are one model, {model}. Name two models.",
            first=options.models[0],
            second=options.models[1],
            model=models[0],
        )
    a, b = (score_answers.answers(warehouse, model, options.benchmark) for model in models)
    found = [
        (key, one)
        for key, one in compare_all_answers(a, b)
        if options.metric is None or key["metric"] == options.metric
    ]
    if not found:
        asked_of = [row for row in answered.to_dicts() if row["model"] in models]
        there = sorted({f"{row['benchmark']} {row['metric']}" for row in asked_of})
        asked = " ".join(part for part in (options.benchmark, options.metric) if part)
        more = [Sentence("{n_there} more", n_there=len(there) - FEW)] if len(there) > FEW else []
        raise InputError(
            "The two have no question of {asked} in common. Answered: {there}.",
            asked=asked,
            there=[*there[:FEW], *more],
        )
    if options.json:
        judged = [{"difference": one.difference, "is_told_apart": one.is_told_apart} for _, one in found]
        say_json([key | asdict(one) | more for (key, one), more in zip(found, judged, strict=True)])
        return 0
    first, second = models
    for key, one in found:
        first_line, *others = score_sentences.statement(
            paired_scores.benchmark_label(key), first, second, one, language()
        )
        say(first_line, *(f"  {line}" for line in others))
    if len(found) > 1:
        say(score_sentences.caution(len(found), language()))
    theirs = answered.filter(answered["model"].is_in(models), benchmark=options.benchmark)
    if theirs.filter(theirs["n_files"] > 1).height:
        say(score_sentences.newest_counts([options.benchmark], language()))
    return 0


def _answered_model(name: str, answered: set[str], warehouse) -> str:
    """The model with single answers that is meant: by its own name, or by one that `runs` prints of a measured model."""
    from core.warehouse import queries

    if name in answered:
        return name
    meant = {
        run[key]
        for run in queries.runs(warehouse).iter_rows(named=True)
        if name in (run["name"], run["model_id"], run["reference"])
        for key in ("repository", "reference")
    }
    meant.add(name)  # as it was scored here, without its revision
    found = sorted(model for model in answered if model in meant or model.partition("@")[0] in meant)
    if len(found) > 1:
        raise InputError("'{name}' may be one of these: {found}. Write which.", name=name, found=found)
    if not found:
        raise InputError(unknown_name("model with single answers", name, answered))
    return found[0]


def _files(asked: list[Path]) -> Iterator[tuple[Path, bool]]:
    """The files themselves, and what a harness wrote below a folder, each once; and whether it was named itself."""
    seen = set()
    for path in asked:
        if path.is_dir():
            patterns = ("*.yaml",) if path.name == ".eval_results" else IN_FOLDERS
            below = sorted(found for pattern in patterns for found in path.rglob(pattern) if found.is_file())
            if not below:
                raise InputError(
                    "There is no {kinds} below {path}. Name the files themselves.", kinds=IN_FOLDERS, path=path
                )
        else:
            below = [path]
        for file in below:
            if (found := file.resolve()) not in seen:
                seen.add(found)
                yield file, not path.is_dir()


def _shown(file: Path) -> str:
    """With its folder, which names the model where the file does not; in a model repository, with those around it."""
    whole = file.absolute()
    return "/".join(whole.parts[-5:]) if whole.parent.name == ".eval_results" else f"{whole.parent.name}/{file.name}"


def _content(file: Path) -> bytes:
    from core.scores.reader import MAX_BYTES

    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                "{file} has {size:,.0f} MiB; at most {limit} are read. Take a part of it.",
                file=file,
                size=size / 2**20,
                limit=MAX_BYTES // 2**20,
            )
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("There is no file {file}. Check its name.", file=file) from error
    except OSError as error:
        raise InputError("{file} cannot be read: {reason}.", file=file, reason=error.strerror or error) from error


def _models(asked: list[str]) -> tuple[Mapping[str, str], str | None]:
    """`NAME=REFERENCE` as aliases, and the one without a name as the model of files that name none."""
    renamed = dict(one.rsplit("=", 1) for one in asked if "=" in one)
    alone = [one for one in asked if "=" not in one]
    if len(alone) > 1:
        raise InputError(
            "--model {model}: only one can be the model of files that name none. Write NAME=REFERENCE.", model=alone[1]
        )
    return renamed, alone[0] if alone else None


def _is_wanted(options: argparse.Namespace, previews) -> bool:
    """Asked at a terminal only; a script has said what it wants."""
    if options.yes or options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    n = sum(preview.rows.filter(preview.rows["fate"] != "skipped").height for preview in previews)
    question = Sentence(
        "{n:,} scores of {files} files would be stored (--dry-run shows them). Store? [Y/n] ", n=n, files=len(previews)
    )
    print(told(question), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("", "y", "yes"):
        return True
    warn(Sentence("nothing was stored."))
    return False
