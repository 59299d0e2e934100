"""The verb doctor: what this installation has, and whether it measures right."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys

from core.verbs.chosen import chosen_warehouse


def doctor(options: argparse.Namespace) -> int:
    if options.instrument:
        return _instrument(options)
    facts = _facts(options)
    if options.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
    return 0


def _facts(options: argparse.Namespace) -> dict[str, str]:
    import torch

    from core.instrument import references
    from core.measure.provenance import code_version, library_versions
    from core.warehouse.store import is_there

    warehouse = chosen_warehouse(options)
    folder = next(parent for parent in (warehouse.path, *warehouse.path.parents) if parent.exists())
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    return {
        "Workdim": code_version(),
        "Python": f"{platform.python_version()} at {sys.executable}",
        "system": platform.platform(),
        "devices": ", ".join(devices),
        "warehouse": f"{warehouse.path} ({'there' if is_there(warehouse.path) else 'not there yet'})",
        "free disk": f"{shutil.disk_usage(folder).free / 1e9:.0f} GB",
        "reference profiles": str(len(list(references()))),
        **library_versions(),
    }


def _instrument(options: argparse.Namespace) -> int:
    from core.console import ProgressBar
    from core.instrument import MODEL, check_instrument

    with ProgressBar(MODEL) as bar:
        found = check_instrument(bar.report)
    rows = found.values.to_dicts()
    if options.json:
        print(json.dumps({"is_right": found.is_right, "n_missing": found.n_missing, "values": rows}, indent=1))
        return 0 if found.is_right else 1
    print(f"{'quantity':<32}{'values':>7}{'largest deviation':>20}{'tolerance':>11}   where")
    for row in rows:
        mark = "" if row["within"] else "  OUTSIDE"
        print(f"{row['quantity']:<32}{row['n_values']:>7}{row['largest_deviation']:>19.3%} {row['tolerance']:>10.1%}"
              f"   layer {row['layer']}, {row['cloud']}{mark}")  # fmt: skip
    if found.n_missing:
        print(f"{found.n_missing} values of the reference were not measured.")
    print("This installation measures what the shipped profile says, within its tolerances." if found.is_right else
          "This installation does NOT measure what the shipped profile says: do not compare its numbers with "
          "those of others.")  # fmt: skip
    return 0 if found.is_right else 1
