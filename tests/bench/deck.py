"""`python -m tests.bench.deck`: what a deck takes, as processor time of its story and of its drawing; ends in 1 where one
of 40 models takes more than it may."""

from __future__ import annotations

import sys
import time

from core.deck.powerpoint import draw_deck
from core.deck.report import build_story
from tests.deck.cases import many, of_models

MOST = 2.0
"""Seconds of a deck of 40 models."""


def main() -> int:
    draw_deck(build_story(of_models(*many(2))))  # libraries and catalogues are loaded
    print(f"{'models':>8}{'slides':>8}{'story s':>9}{'drawing s':>11}{'kB':>7}")
    for n in (1, 8, 40):
        data = of_models(*many(n))
        begun = time.process_time()
        story = build_story(data)
        told = time.process_time()
        content = draw_deck(story)
        drawn = time.process_time()
        print(f"{n:8}{len(list(story)):8}{told - begun:9.2f}{drawn - told:11.2f}{len(content) / 1e3:7.0f}")
    return int(drawn - begun > MOST)


if __name__ == "__main__":
    sys.exit(main())
