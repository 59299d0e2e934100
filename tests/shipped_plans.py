"""`python -m tests.shipped_plans WAREHOUSE ...`: layer plans of these warehouses become data/reference/plans.parquet and
plan_outcomes.parquet, which docs/evidence.md is built from; plans of the same model, text and number of blocks are replaced.

Angles of stretches, most of the rows, stay behind.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import polars as pl

from core.files import REFERENCE
from core.records import SHIPPED, LayerPlan
from core.warehouse import reference, runs
from core.warehouse.warehouse import Warehouse

FILES = {name: REFERENCE / f"{name}.parquet" for name in ("plans", "plan_outcomes")}


def read() -> list[LayerPlan]:
    """By model and number of blocks."""
    return sorted(reference.shipped_plans(), key=lambda one: _key(one)[::-1])


def _key(found: LayerPlan) -> tuple[int, str, str]:
    return len(found.plan.blocks), found.plan.corpus_id, found.plan.name


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.shipped_plans", description=__doc__)
    parser.add_argument("warehouses", nargs="+", type=Path, metavar="WAREHOUSE")
    kept = {_key(one): one for one in read()}
    for path in parser.parse_args().warehouses:
        warehouse = Warehouse(path)
        for plan_id in runs.list_plans(warehouse)["plan_id"].reverse():
            found = runs.load_plan(warehouse, plan_id)
            if found is not None and found.plan.is_verified and found.plan.note != SHIPPED:
                kept[_key(found)] = found
    shipped = [
        LayerPlan(replace(one.plan, note=SHIPPED), [row for row in one.outcomes if row.rule != "stretch"])
        for one in kept.values()
    ]
    for name, path in FILES.items():
        pl.concat([one.frames()[name] for one in shipped]).write_parquet(path, compression="zstd")
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
