"""One sentence for each check and qualifier: what it guards against, and what to do about it."""

from __future__ import annotations

from core.locale import translator
from core.registry.checks import CHECKS


def _(message: str) -> str:
    """Marks a message for the catalogues."""
    return message


QUALIFIERS: dict[str, str] = {
    "check_vetoed": _(
        "A check found a fault that the numbers may not survive; the verdict stays as it was judged, "
        "but do not use this run: its checks say what to change."
    ),
    "no_random_init": _(
        "Random weights can give such a shape without any training: run the protocol standard, which measures them."
    ),
    "random_init_same": _(
        "The same architecture with random weights gives the shape as well: do not read it as a result of training."
    ),
    "random_init_differs": _(
        "The same architecture with random weights does not show the shape: random weights alone do not give it."
    ),
    "random_init_unclear": _(
        "Random weights were measured, but their control is undecided or vetoed, so it decides nothing: "
        "read the shape as not controlled, or measure more text."
    ),
    "random_init_failed": _(
        "The same architecture with random weights could not be measured: read the shape as not controlled."
    ),
    "no_shuffled": _(
        "Vocabulary and weights can give such a shape whatever the text says: run the protocol standard, "
        "which measures shuffled text."
    ),
    "shuffled_same": _(
        "The tokens of each window in random order give the shape as well: it is about vocabulary and weights, "
        "and no evidence of semantics."
    ),
    "shuffled_unclear": _(
        "Shuffled text was measured, but its control is undecided or vetoed: "
        "whether the shape needs the order of tokens stays open."
    ),
    "shuffled_failed": _(
        "The tokens of each window in random order could not be measured: "
        "whether the shape needs the order of tokens stays open."
    ),
    "shuffled_differs": _(
        "The tokens of each window in random order do not show the shape: vocabulary and weights alone do not give it, "
        "which is no evidence of semantics yet."
    ),
    "abtt3_lost": _(
        "With the three leading components removed the contraction is gone: a few directions carry it, so do not "
        "read the final dimension as the dimension of the whole state."
    ),
    "abtt3_undefined": _(
        "With the three leading components removed the ratio of working to final dimension is not defined: "
        "whether a few directions carry the contraction stays open."
    ),
    "gride_contracts": _(
        "The nearest-neighbour dimension (GRIDE, n1=8, n2=16) falls but does not rise: "
        "state the estimator with every claim."
    ),
    "gride_disagrees": _(
        "The nearest-neighbour dimension (GRIDE, n1=8, n2=16) does not both rise and fall: "
        "state the estimator with every claim."
    ),
    "gride_unclear": _(
        "Whether the nearest-neighbour dimension (GRIDE, n1=8, n2=16) rises and falls is undecided within its error: "
        "state the estimator with every claim."
    ),
    "few_types": _(
        "Fewer token types than the protocol allows read lower: compare with runs of the same number, "
        "or read more text."
    ),
    "no_final_norm": _(
        "The architecture has no norm after its last block, whose output stands for the final state: "
        "do not compare it with values after a norm."
    ),
    "check_warned": _("A check came close to its limit: read its value before relying on the second digit."),
}


def check_meaning(check: str, language: str) -> str:
    """Empty for a check that nobody has explained yet."""
    return translator(language)(CHECKS[check].meaning) if check in CHECKS else ""


def qualifier_meaning(qualifier: str, language: str) -> str:
    """Empty for a qualifier that nobody has explained yet."""
    return translator(language)(QUALIFIERS[qualifier]) if qualifier in QUALIFIERS else ""
