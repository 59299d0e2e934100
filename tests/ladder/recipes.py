"""The family: which runs there are, and what each is trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace

STEPS = 1500
CHECKPOINTS = (0, 10, 23, 53, 122, 282, 650, 1500)
"""The start, and from step 10 on in equal steps of the logarithm."""
PHASES = (0, 23, 53, 1500)
"""Steps that the registered tests along training name: the start, collapsed, growing, the end. Every start is measured there."""
BATCH, CONTEXT = 16, 128
"""Windows of a step, tokens of a window."""
VOCABULARY = 2048
N_BLOCKS, HEAD = 6, 32


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run is made of, apart from text and tokenizer, which all runs share."""

    name: str
    width: int = 128
    learning_rate: float = 2e-3
    repeated: float = 0.0
    """Share of the lines that are replaced by the line before."""
    shuffled: float = 0.0
    """Share of the lines that take one another's places within their file."""
    dropout: float = 0.0
    """After attention and feed-forward part of every block."""
    weight_decay: float = 0.1
    seed: int = 0
    """Of the weights at the start and of dropout."""
    order: int = 0
    """Seed of the order of the windows."""
    steps: int = STEPS
    checkpoints: tuple[int, ...] = CHECKPOINTS
    warmup: int = 100

    def folder_of(self, step: int) -> str:
        """The name of a checkpoint's folder, which is also what the warehouse calls the model."""
        return f"ladder-{self.name}-step{step}"


_CHANGES: dict[str, dict[str, float]] = {
    "base": {},
    "lr-6e-3": {"learning_rate": 6e-3},
    "lr-6e-4": {"learning_rate": 6e-4},
    "shuffled-all": {"shuffled": 1.0},
    "decay-1": {"weight_decay": 1.0},
    "repeated-half": {"repeated": 0.5},
    "dropout-30": {"dropout": 0.3},
    "lr-1e-3": {"learning_rate": 1e-3},
    "shuffled-half": {"shuffled": 0.5},
    "lr-4e-3": {"learning_rate": 4e-3},
    "dropout-10": {"dropout": 0.1},
    "repeated-quarter": {"repeated": 0.25},
    "decay-0": {"weight_decay": 0.0},
    "lr-3e-3": {"learning_rate": 3e-3},
    "shuffled-quarter": {"shuffled": 0.25},
    "decay-03": {"weight_decay": 0.3},
    "repeated-tenth": {"repeated": 0.1},
    "lr-1e-3-decay-1": {"learning_rate": 1e-3, "weight_decay": 1.0},
}
"""The recipes, in an order that leaves a population of different ones whenever training is stopped."""
N_REPLICATES = 6
OTHER_WIDTHS = (64, 192)
N_AT_OTHER_WIDTHS = 6
"""Of the recipes above, the first."""


def all_runs() -> dict[str, Recipe]:
    """Name -> run, in the order of training: recipes of width 128, replicates of the base recipe, other widths."""
    recipes = [Recipe(f"128-{name}", **changes) for name, changes in _CHANGES.items()]  # type: ignore[arg-type]
    replicates = [replace(recipes[0], name=f"128-base-again-{n}", seed=n, order=n) for n in range(1, N_REPLICATES + 1)]
    wider = [
        replace(recipe, name=f"{width}-{recipe.name.removeprefix('128-')}", width=width)
        for recipe in recipes[:N_AT_OTHER_WIDTHS]
        for width in OTHER_WIDTHS
    ]
    return {run.name: run for run in [*recipes, *replicates, *wider]}
