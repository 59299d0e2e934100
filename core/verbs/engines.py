"""Where jobs are measured: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import argparse

from core.errors import InputError


def add_engine(verb: argparse.ArgumentParser) -> None:
    """The arguments that `chosen_engine` reads."""
    verb.add_argument("--engine", choices=("local", "ray"), default="local", help="default: processes of this machine")
    verb.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster; without it one is started here")


def chosen_engine(options: argparse.Namespace, warehouse):
    """As core.runs.piloting.Engine. Raises InputError where arguments do not go together, or there is no Ray."""
    if options.engine == "ray":
        from core.runs import on_ray
        from core.runs.ray_cluster import require

        require(options.address)  # before anything is submitted
        return lambda jobs, told: on_ray.run_all(jobs, warehouse, options.address, told)
    if options.address:
        raise InputError("--address is that of a Ray cluster: add --engine ray, or leave it out.")
    from core.runs import local
    from core.runs.turns import at_once

    return lambda jobs, told: local.run_all(jobs, warehouse, at_once(), told)
