"""What can make a run's numbers untrustworthy, judged from the run itself: pass, warn or veto."""

from __future__ import annotations

import math

from core.geometry.layer import LayerResult
from core.geometry.stability import SequenceDependence
from core.measure.hidden import HiddenStates
from core.measure.mask import TokenMask
from core.measure.sample import TokenSample
from core.tables import RunCheckRow

# check -> (warn above, veto above)
LIMITS = {
    "norm_dropped_share": (0.05, 0.20),
    "duplicates": (0.005, 0.05),
    "unknown_token_share": (0.01, 0.10),
    # A tokenizer that knows a script needs less than a token per character in any language.
    "tokens_per_character": (0.9, 1.3),
    # A change of less than 10 percent passes as none, of more than 20 percent is too much; either way round.
    "sequence_invariance": (math.log(1.1), math.log(1.2)),
    "sequence_invariance_all_pairs": (math.log(1.1), math.log(1.2)),
    "sequence_share": (0.2, 0.3),
}


def run_checks(
    run_id: str,
    sample: TokenSample,
    mask: TokenMask,
    states: HiddenStates,
    layers: list[LayerResult],
    n_points: int,
    dependence: dict[int, SequenceDependence],
) -> list[RunCheckRow]:
    """All checks of a run; `dependence` holds the embedding, the peak and the final layer."""
    whole_run = {
        "norm_dropped_share": mask.norm_dropped_share,
        "unknown_token_share": sample.unknown_share,
        "tokens_per_character": sample.tokens_per_character,
    }
    rows = [_judge(run_id, name, None, value) for name, value in whole_run.items()]
    rows.append(RunCheckRow(run_id, "token_types", None, float(n_points), None, "pass"))
    for (layer, state), result in zip(states.labels, layers, strict=True):
        # Without context two tokens of one spelling coincide, so copies at layer 0 say nothing.
        if state == "residual" and layer > 0:
            rows.append(_judge(run_id, "duplicates", layer, result.duplicate_share))
    for layer, found in dependence.items():
        rows.append(_judge(run_id, "sequence_invariance", layer, found.d2_shift))
        rows.append(_judge(run_id, "sequence_invariance_all_pairs", layer, found.d2_all_pairs_shift))
        rows.append(_judge(run_id, "sequence_share", layer, found.share))
    return rows


def _judge(run_id: str, name: str, layer: int | None, value: float) -> RunCheckRow:
    warn, veto = LIMITS[name]
    # What cannot be computed has not passed.
    size = abs(value) if math.isfinite(value) else math.inf
    outcome = "veto" if size > veto else "warn" if size > warn else "pass"
    return RunCheckRow(
        run_id, name, layer, value if math.isfinite(value) else None, veto if outcome == "veto" else warn, outcome
    )
