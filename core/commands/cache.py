"""The verb cache: what takes room on the disk, and how to have some of it back."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from core.commands.context import chosen_warehouse, confirmed, warn
from core.terminal.output import say, say_json


def cache(options: argparse.Namespace) -> int:
    from core.runs.caches import caches, chosen, clean

    warehouse = chosen_warehouse(options)
    found = caches(warehouse)
    if options.clean is None:
        _tell(found, options.json)
        return 0
    # Deleted runs cannot be made anew: the trash is emptied only by name.
    names = options.clean or [one.name for one in found if one.can_be_cleaned and one.name != "trash"]
    meant = [one for one in chosen(found, names) if one.n_bytes]
    for one in meant:
        if one.in_use:
            warn(f"{one.name} is left alone: {one.in_use}.")
    free = [one for one in meant if not one.in_use]
    for one in free:
        say(f"{one.name}: {_size(one.n_bytes)} of {one.what}; {one.cost}")
    if not free:
        say("There is nothing to clean.")
    elif options.dry_run:
        say(f"{_size(sum(one.n_bytes for one in free))} would be freed.")
    elif confirmed(f"Remove {_size(sum(one.n_bytes for one in free))}?", options.yes):
        freed = clean(warehouse, [one.name for one in free])
        say(f"{_size(sum(n_bytes for _, n_bytes in freed))} freed.")
    return 0


def _tell(found, as_json: bool) -> None:
    if as_json:
        say_json([asdict(one) for one in found])
        return
    width = max(len(one.name) for one in found)
    for one in found:
        kind = "" if one.can_be_cleaned else "kept: "
        say(f"{one.name:<{width}}  {_size(one.n_bytes):>10}  {one.what}; {kind}{one.cost}")
    able = sum(one.n_bytes for one in found if one.can_be_cleaned and not one.in_use)
    say("", f"{_size(able)} can be cleaned: `python -m core cache --clean [NAME...]`")


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
