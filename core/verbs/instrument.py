"""`doctor --instrument`: whether this installation measures right."""

from __future__ import annotations

import argparse
import json


def check_again(options: argparse.Namespace) -> int:
    """Exit code 1 where the shipped profile is not measured again."""
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
        print(
            f"{row['quantity']:<32}{row['n_values']:>7}{row['largest_deviation']:>19.3%} {row['tolerance']:>10.1%}"
            f"   layer {row['layer']}, {row['cloud']}{mark}"
        )
    if found.n_missing:
        print(f"{found.n_missing} values of the reference were not measured.")
    print(
        "This installation measures what the shipped profile says, within its tolerances."
        if found.is_right
        else "This installation does NOT measure what the shipped profile says: do not compare its numbers with "
        "those of others."
    )
    return 0 if found.is_right else 1
