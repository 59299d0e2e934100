"""The search for the blocks that cost least: each alone, then one by one with costs taken anew, then exchanges.

Removing one by one is short-sighted: blocks that go well together need not begin with the one that is cheapest alone.
So exchanges start from the set that is known by then to raise the loss least, published choices among them, and go by
the loss as well: what they end with is never dearer than any of these on the windows that it was searched on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from core.plans import candidates
from core.plans.candidates import Candidate, Step
from core.plans.ledger import Ledger
from core.plans.pricing import PriceList, Pricer, Scores, Told, divergence
from core.plans.variants import without
from core.records import PlanConfig, text_budget

STOP_AT = 4.0
"""Where no number of blocks is given, the search ends once a set certainly costs so many budgets."""


@dataclass(frozen=True)
class Searched:
    """What was looked for among the blocks, and what it costs on the windows that choose."""

    proposed: list[Candidate]
    prices: PriceList
    """Of what is proposed."""
    path: list[Step]
    """Empty where the blocks were given, and so is `alone`."""
    alone: list[Scores]
    """The whole network, then without each block."""


@dataclass(frozen=True)
class Search:
    """Every step of it is kept, so that a search that was stopped goes on."""

    config: PlanConfig
    ledger: Ledger
    pricer: Callable[[], Pricer]
    """On the windows that candidates are compared on; the network is opened for a step that is not there yet."""
    n_tokens: int
    """In all of these windows."""
    most_removed: int

    def run(self, published: Callable[[int], list[Candidate]]) -> Searched:
        """`published`: what others would take, of so many blocks."""
        alone: list[Scores] = self._step("singles", lambda told: candidates.singles(self.pricer(), told))
        costs = [divergence(one).value for one in alone[1:]]
        pool = candidates.shortlist(costs, self.most_removed)
        path = self._path(alone, pool)
        greedy = path[self._how_many(path) - 1]
        others = published(len(greedy.blocks))
        known = self._known(alone[0], greedy, others)
        exchanged = self._exchanged(candidates.cheapest(list(known.values())), pool, costs, known)
        ours = [Candidate("greedy", greedy.blocks)]
        if exchanged.blocks not in known:
            ours.append(Candidate("exchange", exchanged.blocks))
            known[exchanged.blocks] = exchanged
        prices = PriceList(alone[0], {blocks: step.scores for blocks, step in known.items()})
        return Searched(ours + others, prices, path, alone)

    def given(self, blocks: Sequence[int], published: Callable[[int], list[Candidate]]) -> Searched:
        """A choice of one's own needs no search."""
        own = Candidate("own", tuple(sorted(blocks)))
        proposed = [own, *published(len(own.blocks))]
        sets = [one.blocks for one in candidates.distinct(proposed)]
        whole, *found = self._rules(sets)
        return Searched(proposed, PriceList(whole, dict(zip(sets, found, strict=True))), [], [])

    def _step(self, name: str, make: Callable):
        return self.ledger.step("choose", name, self.n_tokens, make)

    def _rules(self, sets: Sequence[tuple[int, ...]]) -> list[Scores]:
        """Of the whole network first."""
        variants = [without(blocks) for blocks in sets]
        return self._step("rules", lambda told: self.pricer().scores(variants, told))

    def _path(self, alone: list[Scores], pool: list[int]) -> list[Step]:
        """The cheapest set of one block, then of each further one."""
        path = [candidates.step_of([pool[0]], alone[0], alone[1 + pool[0]])]
        names = [f"step-{k}" for k in range(1, self.most_removed)]
        for name in names:
            if self.config.blocks is None and path[-1].increase.lower > STOP_AT * text_budget(self.config):
                break
            gone = path[-1].blocks
            path.append(self._step(name, lambda told, gone=gone: candidates.next_step(self.pricer(), gone, pool, told)))
        self.ledger.skip(*names)
        return path

    def _how_many(self, path: list[Step]) -> int:
        """As asked; else the most that the budget allows on the text that chooses, or one, to show its price."""
        if self.config.blocks is not None:
            return self.config.blocks
        within = [len(step.blocks) for step in path if step.increase.upper < text_budget(self.config)]
        return max(within, default=1)

    def _known(self, whole: Scores, greedy: Step, others: Sequence[Candidate]) -> dict[tuple[int, ...], Step]:
        """The sets that exchanges may start from."""
        sets = [one.blocks for one in candidates.distinct(others) if one.blocks != greedy.blocks]
        _, *found = self._rules(sets)
        steps = [candidates.step_of(blocks, whole, one) for blocks, one in zip(sets, found, strict=True)]
        return {step.blocks: step for step in (greedy, *steps)}

    def _exchanged(
        self, best: Step, pool: list[int], costs: Sequence[float], known: Collection[tuple[int, ...]]
    ) -> Step:
        """(1 + lambda): rounds of some exchanges of one block, until none is left to try or there were enough."""
        names = [f"round-{k}" for k in range(candidates.MOST_ROUNDS if len(best.blocks) > 1 else 0)]
        seen = {*known}
        for name in names:
            every = candidates.exchanges(best.blocks, pool, costs)
            tried = [blocks for blocks in every if blocks not in seen][: candidates.OFFSPRING]
            if not tried:
                break
            seen |= {*tried}
            best = self._step(name, partial(self._round, best, tried))
        self.ledger.skip(*names)
        return best

    def _round(self, best: Step, tried: Sequence[tuple[int, ...]], told: Told) -> Step:
        return candidates.cheapest([best, *candidates.priced(self.pricer(), tried, best.blocks, told)])
