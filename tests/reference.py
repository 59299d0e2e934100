"""`python -m tests.reference --warehouse FILE RUN...`: runs of a warehouse as the reference profiles that ship.

Copies their parcels, tagged `reference`, to data/reference/profiles. Profiles of another protocol hash than today's are
removed: nothing compares with them any more.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from core.errors import InputError
from core.registry.protocols import PROTOCOLS
from core.store.parcels import RUN_FILE
from core.warehouse import queries
from core.warehouse.reference import PROFILES, references
from core.warehouse.warehouse import Warehouse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warehouse", type=Path, required=True)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    options = parser.parse_args()
    warehouse = Warehouse(options.warehouse)
    known = queries.runs(warehouse)
    for start in options.runs:
        found = known.filter(known["run_id"].str.starts_with(start))
        if found.height != 1:
            raise InputError(f"{found.height} runs begin with '{start}'.")
        publish(warehouse.parcels / found["run_id"][0])
    for folder in references():
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["run"]
        if run["protocol_hash"] != PROTOCOLS[run["protocol"]].hash(run["seed"]):
            shutil.rmtree(folder)
            print(f"removed {folder.name}: {run['protocol']} has another hash now")


def publish(parcel: Path) -> None:
    target = PROFILES / parcel.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(parcel, target)
    content = json.loads((target / RUN_FILE).read_text(encoding="utf-8"))
    content["run"]["tags"] = ["reference"]
    (target / RUN_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e3
    print(f"{content['run']['pass']} of {content['model']['name']}, {content['run']['protocol']}: {size:.0f} kB")


if __name__ == "__main__":
    main()
