"""The verb pilot: measure what a pilot file asks for, and tell what came of each request."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.verbs.chosen import chosen_warehouse, warn


def pilot(options: argparse.Namespace) -> int:
    """Exit code 2 where a request was not met; the others are measured all the same."""
    from core.console import ProgressBar
    from core.runs.piloting import all_parts, run_pilot
    from core.verbs.engines import chosen_engine

    warehouse = chosen_warehouse(options)
    asked = _asked(options.pilot, warehouse)
    if options.estimate_only:
        from core.pilots import requests
        from core.verbs.estimating import estimate_all

        return estimate_all(requests(asked), warehouse, options.json)
    n_requests = len(all_parts(asked))
    print(f"Pilot {asked.name} ({asked.pilot_id}): {n_requests} measurements", flush=True)
    failed, begun = [], set()

    def told(at) -> None:
        name = f"{at.job.config.model} on {at.job.config.corpus}"
        if at.state == "running" and name not in begun:  # where the output is no terminal, all that is seen of it
            begun.add(name)
            bar.clear()
            print(f"  {name}: begun", flush=True)
        bar.name(at.job.config.model)
        if at.progress:
            bar.report(at.progress)

    with ProgressBar(asked.name) as bar:
        for one in run_pilot(asked, warehouse, chosen_engine(options, warehouse), told):
            bar.clear()
            name = f"{one.config.model} on {one.config.corpus}"
            if one.state == "finished":
                print(f"  {name}: run {one.run_id}" + (" (was there already)" if one.was_known else ""), flush=True)
            else:
                failed.append(name)
                warn(f"{name}: {one.state}. {one.reason}".rstrip())
            for note in one.notes:
                warn(f"{name}: {note}")
    if failed:
        warn(f"Not met: {len(failed)} of {n_requests}: {'; '.join(failed)}. The same command tries again.")
    print(f"python -m core slides --pilot {asked.pilot_id} --out FILE.pptx   writes its slides")
    return 2 if failed else 0


def _asked(written: str, warehouse):
    """The pilot of a file, or one that is registered, by its name or id."""
    from core.pilot_file import read_pilot
    from core.pilots import chosen_pilot
    from core.runs.choices import protocols, texts
    from core.warehouse import queries
    from core.warehouse.warehouse import is_there

    if written.endswith(".toml") or not is_there(warehouse.path):
        return read_pilot(Path(written), protocols(), texts())
    return chosen_pilot(queries.pilots(warehouse).to_dicts(), written).pilot
