"""The search for the cheapest blocks to remove: each alone, then greedily one by one, then by exchanges.

Greedy removal is short-sighted: the best set need not contain the block that is cheapest alone. So exchanges start from
the known set with the least loss increase, published choices included, and minimise the loss as well: on the search
windows their result never costs more than any of these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from core.plans import candidates
from core.plans.candidates import Candidate, Step
from core.plans.pricing import PriceList, Pricer, Scores, divergence, loss_increase
from core.plans.setup import PlanSetup, StepRunner
from core.plans.variants import without_blocks
from core.records import PUBLISHED_FIFTH, text_budget


@dataclass(frozen=True)
class SearchResult:
    """The candidate sets and their prices on the search windows."""

    candidates: list[Candidate]
    prices: PriceList
    """Prices of the candidates."""
    path: list[Step]
    """The greedy path; empty if the blocks were given, as is `alone`."""
    alone: list[Scores]
    """The whole network, then without each block."""

    def sum_of_singles(self, blocks: Sequence[int]) -> float | None:
        """What these blocks cost each alone, added up; None if they were given, as no block was then priced alone."""
        if not self.alone:
            return None
        return sum(loss_increase(self.alone[0], self.alone[1 + block]).value for block in blocks)


@dataclass(frozen=True)
class Search:
    """A resumable search: the result of every step is stored."""

    setup: PlanSetup
    steps: StepRunner
    pricer: Callable[[], Pricer]
    """A pricer on the search windows; called only for steps without a stored result, as it opens the network."""

    def run(self, published: Callable[[int], list[Candidate]]) -> SearchResult:
        """`published`: the choices of published rules for a number of blocks."""
        single_scores = self._price("singles", [(block,) for block in range(self.setup.n_blocks)])
        costs = [divergence(scores).value for scores in single_scores[1:]]
        pool = candidates.shortlist(costs, self.setup.most_removed)
        path = self._search_path(single_scores, pool)
        greedy = path[self._choose_size(path) - 1]
        published_sets = published(len(greedy.blocks))
        priced = self._starting_sets(single_scores[0], greedy, published_sets)
        exchanged = self._exchange(candidates.cheapest(list(priced.values())), pool, costs, priced)
        proposed = [Candidate("greedy", greedy.blocks)]
        if exchanged.blocks not in priced:
            proposed.append(Candidate("exchange", exchanged.blocks))
            priced[exchanged.blocks] = exchanged
        prices = PriceList(single_scores[0], {blocks: step.scores for blocks, step in priced.items()})
        return SearchResult(proposed + published_sets, prices, path, single_scores)

    def price_given(self, blocks: Sequence[int], published: Callable[[int], list[Candidate]]) -> SearchResult:
        """Price the user's own choice of blocks beside the published ones, without a search."""
        own = Candidate("own", tuple(sorted(blocks)))
        proposed = [own, *published(len(own.blocks))]
        sets = [candidate.blocks for candidate in candidates.distinct_sets(proposed)]
        baseline, *scores = self._price("rules", sets)
        return SearchResult(proposed, PriceList(baseline, dict(zip(sets, scores, strict=True))), [], [])

    def _run_step(self, name: str, compute: Callable):
        return self.steps.run("choose", name, self.setup.search_windows.ids.size, compute)

    def _price(self, name: str, sets: Sequence[tuple[int, ...]]) -> list[Scores]:
        """Scores of the whole network, then without each set."""
        variants = [without_blocks(blocks) for blocks in sets]
        return self._run_step(name, lambda report: self.pricer().scores(variants, report))

    def _search_path(self, alone: list[Scores], pool: list[int]) -> list[Step]:
        """The greedy path: the cheapest single block, then with each further block."""
        path = [candidates.make_step([pool[0]], alone[0], alone[1 + pool[0]])]
        names = [f"step-{size}" for size in range(1, self.setup.most_removed)]
        for name in names:
            # A set that surely costs more than any budget that has a name says all there is to say.
            dearest = max(PUBLISHED_FIFTH, text_budget(self.setup.config))
            if self.setup.config.blocks is None and path[-1].increase.lower > dearest:
                break
            removed = path[-1].blocks
            path.append(
                self._run_step(
                    name, lambda report, removed=removed: candidates.next_step(self.pricer(), removed, pool, report)
                )
            )
        self.steps.skip(*names)
        return path

    def _choose_size(self, path: list[Step]) -> int:
        """The requested number of blocks; else the most within the budget on the search windows, at least one."""
        if self.setup.config.blocks is not None:
            return self.setup.config.blocks
        sizes = [len(step.blocks) for step in path if step.increase.upper < text_budget(self.setup.config)]
        return max(sizes, default=1)

    def _starting_sets(
        self, baseline: Scores, greedy: Step, published_sets: Sequence[Candidate]
    ) -> dict[tuple[int, ...], Step]:
        """The sets that exchanges may start from, by their blocks."""
        sets = [one.blocks for one in candidates.distinct_sets(published_sets) if one.blocks != greedy.blocks]
        _, *set_scores = self._price("rules", sets)
        steps = map(candidates.make_step, sets, [baseline] * len(sets), set_scores)
        return {step.blocks: step for step in (greedy, *steps)}

    def _exchange(
        self, best: Step, pool: list[int], costs: Sequence[float], priced: Collection[tuple[int, ...]]
    ) -> Step:
        """A (1 + lambda) search: rounds of single-block exchanges, until no set is left to try or the limit is reached."""
        names = [f"round-{number}" for number in range(candidates.MOST_ROUNDS if len(best.blocks) > 1 else 0)]
        tried_sets = {*priced}
        for name in names:
            exchanges = candidates.list_exchanges(best.blocks, pool, costs)
            offspring = [blocks for blocks in exchanges if blocks not in tried_sets][: candidates.OFFSPRING]
            if not offspring:
                break
            tried_sets |= {*offspring}
            best = self._run_step(
                name,
                lambda report, best=best, offspring=offspring: candidates.cheapest(
                    [best, *candidates.price_sets(self.pricer(), offspring, best.blocks, report)]
                ),
            )
        self.steps.skip(*names)
        return best
