"""What can make a run's numbers untrustworthy, judged from the run itself: pass, warn or veto."""

from __future__ import annotations

from core.geometry.layer import LayerResult
from core.measure.hidden import HiddenStates
from core.measure.mask import TokenMask
from core.measure.sample import TokenSample
from core.records import RunCheckRow

# check -> (warn above, veto above)
LIMITS = {
    "norm_dropped_share": (0.05, 0.20),
    "duplicates": (0.005, 0.05),
    "unknown_token_share": (0.01, 0.10),
    # A tokenizer that knows a script needs less than a token per character in any language.
    "tokens_per_character": (0.9, 1.3),
}
FEW_TYPES = 0.9
"""Share of the protocol's types below which runs are compared only with runs of the same size."""


def run_checks(
    run_id: str, sample: TokenSample, mask: TokenMask, states: HiddenStates, layers: list[LayerResult], n_points: int
) -> list[RunCheckRow]:
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
    return rows


def _judge(run_id: str, name: str, layer: int | None, value: float) -> RunCheckRow:
    warn, veto = LIMITS[name]
    outcome = "veto" if value > veto else "warn" if value > warn else "pass"
    return RunCheckRow(run_id, name, layer, value, veto if outcome == "veto" else warn, outcome)
