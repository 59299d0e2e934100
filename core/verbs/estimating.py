"""`measure --estimate-only`: the card of each measurement, and nothing measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from core.records import RunConfig


def estimate_all(configs: Sequence[RunConfig], warehouse, as_json: bool) -> int:
    """One card for each measurement that the requests stand for; exit code 2 where one of them is refused."""
    from core.forecast.preflight_card import estimate
    from core.report.card import card_lines
    from core.runs.measuring import parts_of

    cards = [estimate(part, warehouse) for asked in configs for part in parts_of(asked)]
    if as_json:
        print(json.dumps([asdict(card) for card in cards], indent=1))
    else:
        print("\n\n".join("\n".join(card_lines(card)) for card in cards))
    return 2 if any(card.refusals for card in cards) else 0
