"""The numbers of one measurement, in lines: dimensions and ratios with their intervals, and second opinions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from core.analysis.shape import SECOND_OPINION
from core.report import wording
from core.report.numbers import number
from core.report.told import PRIMARY, WORDS, Measurement, Row

GRIDE_READ_AT = SECOND_OPINION[1]
LEVEL = 0.1
LITERATURE = {"last_token": "last token of each window", "per_prompt": "all tokens of one prompt, averaged"}


def interval(source: Row, name: str, absent: str = "not defined") -> str:
    """`106 [98.9, 113]`, or what to say where there is no value."""
    if source[name] is None:
        return absent
    return wording.with_interval(source[name], source.get(f"{name}_lower"), source.get(f"{name}_upper"))


def dimensions(told: Measurement) -> Iterator[str]:
    found = told.summary(*PRIMARY)
    if found is None:
        return
    yield f"  estimated dimension (d2, one token per type, N={found['n_points']:,}), 95 % intervals"
    rows = [
        ("embedding", interval(found, "embedding_dimension")),
        ("working", f"{interval(found, 'working_dimension'):<22}{_band(found, told.run)}".rstrip()),
        *_final(found),
        ("expansion ratio R_e", interval(found, "expansion_ratio")),
        ("contraction ratio R_c", f"{interval(found, 'contraction_ratio'):<22}{_without(found)}".rstrip()),
    ]
    if found.get("contraction_ratio_gride_8") is not None:
        rise, fall = number(found["expansion_ratio_gride_8"]), number(found["contraction_ratio_gride_8"])
        rows.append(("ratios by GRIDE n1=8", f"expansion {rise}, contraction {fall}"))
    for name, value in rows:
        yield f"    {name:<24}{value}"


def _final(found: Row) -> list[tuple[str, str]]:
    before = interval(found, "final_dimension_pre_norm")
    if found["final_dimension_post_norm"] is None:
        return [("final, no final norm", before)]
    return [("final, before the norm", before), ("final, after the norm", interval(found, "final_dimension_post_norm"))]


def _band(found: Row, run: Row) -> str:
    first, last = found["working_layer_first"], found["working_layer_last"]
    if first is None:
        return "a model of one block has no inner layer" if run["n_layers"] < 2 else ""
    band = f"layer {first}" if first == last else f"layers {first} to {last}"
    return f"{band} of {run['n_layers']}; read at layer {found['working_layer']}"


def _without(found: Row) -> str:
    value = found.get("contraction_ratio_abtt3")
    return "" if value is None else f"{number(value)} after removing three components"


def across_tokenizers(told: Measurement) -> Iterator[str]:
    found, run = told.summary(*WORDS), told.run
    if found is None:
        return
    lost = run.get("n_words_lost")
    words = f" of {run['n_words']:,}" if run.get("n_words") else ""
    yield f"  across tokenizers (d2, one point per word, N={found['n_points']:,}{words} words)"
    yield f"    {'working':<24}{interval(found, 'working_dimension'):<22}{_band(found, run)}".rstrip()
    if lost is not None:
        yield f"    {'occurrences lost':<24}{lost:,} (beyond the tokens read, or masked)"


def second_opinions(told: Measurement) -> Iterator[str]:
    """Nearest neighbours at the working layer: the scan's plateau, and how far the cloud is from a Gaussian one."""
    found = told.summary(*PRIMARY)
    layer = None if found is None else found["working_layer"]
    if layer is None:
        return
    cloud = PRIMARY[1]
    scan = {row["n1"]: row for n1 in (1, 2, 4, 8, 16, 32) if (row := told.value(layer, "gride", cloud, n1))}
    parts = [_plateau({n1: row["value"] for n1, row in scan.items() if row["value"]})]
    read = scan.get(GRIDE_READ_AT)
    if read is not None and read["value"] is not None:
        equivalent = read["gaussian_equivalent"]
        parts.append(
            f"no Gaussian equivalent of {number(read['value'])} (n1=8) is stored"
            if equivalent is None or math.isnan(equivalent)
            else f"Gaussian equivalent of {number(read['value'])} (n1=8): {number(equivalent)}{_interval(read)}"
        )
    ratio = told.correlator(layer, "nonlinearity_ratio_8", cloud)
    if ratio is not None:
        parts.append(f"GRIDE n1=8 of a Gaussian of equal covariance is {number(ratio)} times the data's")
    told_parts = [part for part in parts if part]
    if told_parts:
        yield f"  second opinions, nearest neighbours at layer {layer}"
        for part in told_parts:
            yield f"    {part}"


def _interval(row: Row) -> str:
    ends = [row[f"gaussian_equivalent_{end}"] for end in ("lower", "upper")]
    return "" if None in ends else f" [{number(ends[0])}, {number(ends[1])}]"


def _plateau(scan: dict[int, float]) -> str:
    """Where two successive doublings of n1 change log d by less than `LEVEL`, as in `geometry.ratios.plateau`."""
    if not scan:
        return ""
    # The rule is written twice because the report may not import geometry; change both together.
    logs = {n1: math.log(value) for n1, value in scan.items()}
    for n1 in sorted(logs):
        steps = [logs.get(2 * at, math.nan) - logs.get(at, math.nan) for at in (n1, 2 * n1)]
        if all(abs(step) < LEVEL for step in steps):
            return f"GRIDE levels off at {number(scan[n1])} (n1={n1}, n2={2 * n1})"
    span = f"{number(min(scan.values()))} to {number(max(scan.values()))}"
    return f"GRIDE does not level off: {span} for n1={min(scan)} to {max(scan)}"


def literature(told: Measurement) -> Iterator[str]:
    """The statistics of the two published protocols: first, largest and last layer."""
    for cloud, meaning in LITERATURE.items():
        rows = [row for row in told.estimates if row["cloud"] == cloud and row["state"] == "residual" and row["value"]]
        for estimator, n1 in (("gride", 2), ("two_nn", 1)):
            own = sorted(
                (row for row in rows if (row["estimator"], row["n1"], row["transform"]) == (estimator, n1, "centred")),
                key=lambda row: row["layer"],
            )
            if own:
                top = max(own, key=lambda row: row["value"])
                symbol = wording.estimator_symbol(estimator, n1)
                yield f"  estimated dimension ({symbol}, {meaning}, N={own[0]['n_points']:,})"
                yield (
                    f"    {number(own[0]['value'])} at the embedding, at most {number(top['value'])} at layer "
                    f"{top['layer']}, {number(own[-1]['value'])} at the end"
                )
