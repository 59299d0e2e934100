"""`python -m tests.reference --warehouse FILE RUN...`: runs of a warehouse as the reference profiles that ship.

Copies their parcels, tagged `reference`, to data/reference/profiles. Profiles of another protocol hash than today's are
removed: nothing compares with them any more.

`python -m tests.reference --warehouse FILE --controls RUN...` gives shipped runs on text the controls that a run of the warehouse
on the same model, text and protocol has and they have not, and judges them again.

`python -m tests.reference --windows RUN...` gives shipped runs of decoders, and their controls with shuffled tokens, the loss
and dimension of each window where an earlier version measured them without, from a forward pass alone; a control with
shuffled tokens that is not there is measured.

`python -m tests.reference --readable RUN...` gives shipped runs of decoders the loss that is readable at each layer, likewise.

`python -m tests.reference --judge` judges all shipped profiles again from their stored estimates, blocks and halves, without
measuring, and writes their parcels with all of today's tables. Where blocks were not kept, claims stay and verdicts follow.

`python -m tests.reference --pack` puts the controls, and the profiles of the ladder and of damaged networks, which are many and
alike, into a file of each kind, and `--unpack` makes folders of them again, as `tests.ladder --measure` and `tests.damage` do before they begin.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from core.analysis.shape import _verdict_columns, judge_profile
from core.errors import InputError
from core.files import move
from core.measure.plan import capture, mask_tokens, open_setup, read_losses
from core.measure.profile import measure_profile, open_network, select_sample
from core.measure.rows import readable_rows, window_rows
from core.records import DAMAGED, EARLIER, LOCAL, SHIPPED, Profile, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import new_run_id
from core.store.parcels import RUN_FILE, read_header, read_parcel, write_parcel
from core.tables import TABLES
from core.warehouse import queries
from core.warehouse.reference import PROFILES, shipped_bundles, shipped_parcels, unpack
from core.warehouse.warehouse import Warehouse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--warehouse", type=Path)
    what.add_argument("--windows", action="store_true")
    what.add_argument("--readable", action="store_true")
    what.add_argument("--judge", action="store_true")
    what.add_argument("--pack", action="store_true")
    what.add_argument("--unpack", action="store_true")
    parser.add_argument("--controls", action="store_true")
    parser.add_argument("runs", nargs="*", metavar="RUN")
    options = parser.parse_args()
    if not options.pack:
        unpack_all()
    if options.warehouse or options.windows or options.readable:
        publish_all(options)
    if options.judge or options.controls:
        judge_all()
    if not options.unpack:
        pack()


def publish_all(options: argparse.Namespace) -> None:
    if options.windows or options.readable:
        for start in options.runs:
            (with_windows if options.windows else add_readable)(_shipped_text(start))
        return
    warehouse = Warehouse(options.warehouse)
    known = queries.runs(warehouse)
    for start in options.runs:
        found = known.filter(known["run_id"].str.starts_with(start))
        if found.height != 1:
            raise InputError(f"{found.height} runs begin with '{start}'.")
        if options.controls:
            add_controls(warehouse.parcels / found["run_id"][0], warehouse.parcels)
        else:
            publish(warehouse.parcels / found["run_id"][0])
    for folder in shipped_parcels():
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["run"]
        if run["protocol_hash"] != PROTOCOLS[run["protocol"]].hash(run["seed"]):
            shutil.rmtree(folder)
            print(f"removed {folder.name}: {run['protocol']} has another hash now")


def publish(parcel: Path) -> None:
    target = PROFILES / parcel.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(parcel, target)
    content = json.loads((target / RUN_FILE).read_text(encoding="utf-8"))
    content["run"]["tags"] = [SHIPPED]
    (target / RUN_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e3
    print(f"{content['run']['pass']} of {content['model']['name']}, {content['run']['protocol']}: {size:.0f} kB")


SAME = ("model_id", "corpus_id", "protocol_hash", "seed", "dtype", "n_tokens_used", "n_types", "n_windows_redrawn")
"""What a run on text and another one share, so that the controls of one are those of the other."""


def add_controls(measured: Path, parcels: Path) -> None:
    """Controls of a measured run on text, where the shipped run on the same tokens has none of their kind."""
    newer = Profile.from_frames(read_parcel(measured))
    shipped = {folder.name: Profile.from_frames(read_parcel(folder)) for folder in shipped_parcels()}
    alike = [
        one
        for one in shipped.values()
        if one.run.pass_ == "text" and all(getattr(one.run, name) == getattr(newer.run, name) for name in SAME)
    ]
    if len(alike) != 1:
        raise InputError(f"{len(alike)} shipped runs are on the tokens of {measured.name}.")
    text, own = alike[0], list(alike[0].summaries[0].control_run_ids or ())
    has = {shipped[name].run.pass_ for name in own if name in shipped}
    for name in newer.summaries[0].control_run_ids or ():
        control = Profile.from_frames(read_parcel(parcels / name))
        if control.run.pass_ not in has:
            run = replace(control.run, parent_run_id=text.run.run_id, tags=[SHIPPED])
            write_parcel(PROFILES / name, replace(control, run=run))
            own.append(name)
            print(f"{control.run.pass_} of {control.model.name}: {name}")
    summaries = [replace(row, control_run_ids=own) for row in text.summaries]
    write_parcel(PROFILES / text.run.run_id, replace(text, summaries=summaries))


def pack() -> None:
    """Controls, and small models trained or damaged here, a bundle of each kind: equal tables lie side by side in it and
    compress by what they share."""
    kinds: dict[str, list[Path]] = {}
    for folder in shipped_parcels():
        if kind := _bundle_of(json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))):
            kinds.setdefault(kind, []).append(folder)
    for kind, folders in kinds.items():
        bundle = PROFILES / f"{kind}.tar.xz"
        new = bundle.with_suffix(".new")
        with lzma.open(new, "wb", preset=6) as packed, tarfile.open(fileobj=packed, mode="w|") as members:
            for file in sorted(
                (file for folder in folders for file in folder.iterdir()), key=lambda one: (one.name, one)
            ):
                # without times and owners: equal content, equal file
                member = tarfile.TarInfo(f"{file.parent.name}/{file.name}")
                member.size = file.stat().st_size
                with file.open("rb") as content:
                    members.addfile(member, content)
        new.replace(bundle)
        for folder in folders:
            shutil.rmtree(folder)
        print(f"{bundle.name}: {len(folders)} profiles, {bundle.stat().st_size / 1e6:.1f} MB")


def _bundle_of(header: dict[str, Any]) -> str | None:
    """The bundle that a profile ships in; None for a text profile of a downloadable model, which ships as a folder."""
    if DAMAGED in header["run"]["tags"]:
        return "damaged"
    if header["model"]["reference"].startswith(LOCAL):
        return "training" if EARLIER in header["run"]["tags"] else "ladder"
    return f"controls_{header['run']['protocol']}" if header["run"]["pass"] != "text" else None


def unpack_all() -> None:
    for bundle in shipped_bundles():
        unpack(bundle, PROFILES)


# --- verdicts --------------------------------------------------------------------------------------------------


def judge_all() -> None:
    """Every profile is read before the first is written: a run is judged with its controls as they were measured."""
    profiles = {folder.name: Profile.from_frames(read_parcel(folder)) for folder in shipped_parcels()}
    words: Counter[tuple[str, str]] = Counter()
    for profile in profiles.values():
        judged = judge(profile, profiles)
        write_parcel(PROFILES / profile.run.run_id, judged)
        for row in judged.summaries[:1]:
            words.update([("rise", str(row.verdict_rise)), ("fall", str(row.verdict_fall))])
    print(", ".join(f"{claim} {word}: {n}" for (claim, word), n in sorted(words.items())))


def judge(profile: Profile, profiles: Mapping[str, Profile]) -> Profile:
    """A profile with today's judgement. What a control without blocks was once found to show is kept."""
    if not profile.replicates:
        return judge_again(profile)
    told = profile.summaries[0] if profile.summaries else None
    controls = [profiles[name] for name in (told and told.control_run_ids) or () if name in profiles]
    judged = judge_profile(profile, controls)
    compared = {row.control_run_id for row in judged.controls}
    kept = [row for row in profile.controls if row.control_run_id not in compared and row.power is None]
    return judge_again(replace(judged, controls=judged.controls + kept)) if kept else judged


def judge_again(profile: Profile) -> Profile:
    """The profile with the verdicts and counts that follow from its stored claims, controls and checks.

    All that can be done where the values without each block were not kept: a joint test stays as it was.
    """
    columns = _verdict_columns(profile, [], [])
    known = {name: value for name, value in columns.items() if value is not None}
    return replace(profile, summaries=[replace(row, **known) for row in profile.summaries])


# --- what a forward pass alone gives ---------------------------------------------------------------------------


def _shipped_text(start: str) -> Path:
    """The shipped run on text by the start of its id."""
    found = [
        folder
        for folder in shipped_parcels()
        if folder.name.startswith(start) and read_header(folder).rows["runs"]["pass"] == "text"
    ]
    if len(found) != 1:
        raise InputError(f"{len(found)} shipped runs on text begin with '{start}'.")
    return found[0]


def with_windows(text: Path) -> None:
    """A shipped run on text, and its control."""
    add_windows(text)
    controls = [
        folder
        for folder in shipped_parcels()
        if (run := read_header(folder).rows["runs"]) and (run["parent_run_id"], run["pass"]) == (text.name, "shuffled")
    ]
    for folder in controls:
        add_windows(folder)
    if not controls:
        measure_shuffled(text)


def request(tables: dict[str, pl.DataFrame]) -> RunConfig:
    """What a run was asked for, without the models whose words it shares: windows have no words."""
    asked = json.loads(tables["runs"]["config"][0])["run"]
    asked["estimators"] = tuple(asked["estimators"])
    return RunConfig(**asked | {"companions": ()})


@contextmanager
def _passed(folder: Path, tables: dict[str, pl.DataFrame]) -> Iterator[tuple[Any, Any, Any, Any]]:
    """The model of a shipped run, its sample, mask and states, after the same forward pass as then."""
    config, run = request(tables), tables["runs"].row(0, named=True)
    setup = open_setup(config)
    sample = select_sample(config, setup)
    with tempfile.TemporaryDirectory(prefix="reference-") as name:
        scratch = Path(name)
        model = open_network(config, setup, scratch, lambda step: None)
        states = capture(model, sample, scratch, lambda step: None)
        mask = mask_tokens(sample, states.norms, states.n_layers, setup.protocol.norm_factor)
        if int(mask.keep.sum()) != run["n_tokens_used"] or abs(states.bits_per_byte - run["bits_per_byte"]) > 1e-4:
            raise InputError(f"{folder.name} was measured otherwise than this version measures: measure it anew.")
        yield model, sample, mask, states


def _put(folder: Path, table: str, rows: pl.DataFrame) -> None:
    """A table of a parcel, in place of what was there."""
    told, content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8")), io.BytesIO()
    rows.write_parquet(content, compression="zstd")
    (folder / f"{table}.parquet").write_bytes(content.getvalue())
    told["files"][table] = hashlib.sha256(content.getvalue()).hexdigest()
    (folder / RUN_FILE).write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"{table} of {told['model']['name']} on {told['corpus']['name']}: {rows.height} rows")


def add_windows(folder: Path) -> None:
    """The table run_windows, computed as a measurement does; nothing where it is there with the bits of each window."""
    tables = read_parcel(folder)
    if tables["run_windows"]["bits"].count():
        return
    with _passed(folder, tables) as (_, sample, mask, states):
        of_d2 = tables["layer_estimates"].filter(
            pl.col("layer").is_between(1, states.n_layers - 1),
            estimator="d2",
            cloud="one_per_type",
            transform="centred",
            state="residual",
        )
        inner = of_d2.sort("value", descending=True)["layer"][0]
        _put(folder, "run_windows", TABLES["run_windows"].frame(window_rows(folder.name, sample, mask, states, inner)))


def add_readable(folder: Path) -> None:
    """The loss that the head reads at each layer, among the correlators; nothing where it is there."""
    tables = read_parcel(folder)
    known = tables["layer_correlators"]
    if known.filter(correlator="readable_loss").height:
        return
    n_targets = PROTOCOLS["standard"].n_readable
    with _passed(folder, tables) as (model, sample, _, states):
        read = replace(states, readable=read_losses(model, sample, states, n_targets))
        rows = TABLES["layer_correlators"].frame(list(readable_rows(folder.name, sample, read)))
    _put(folder, "layer_correlators", pl.concat([known, rows.select(known.columns).cast(known.schema)]))


def measure_shuffled(of: Path) -> None:
    """The control of a shipped run, without its heavy tables."""
    tables = read_parcel(of)
    config = replace(request(tables), pass_="shuffled")
    with tempfile.TemporaryDirectory(prefix="reference-") as scratch:
        profile = judge_profile(measure_profile(config, new_run_id(), Path(scratch), lambda step: None))
    run = replace(profile.run, parent_run_id=of.name, tags=[SHIPPED])
    lighter = replace(profile, run=run, pairs=[], distributions=[], replicates=[])
    new = PROFILES / f".{run.run_id}"
    write_parcel(new, lighter)
    move(new, PROFILES / run.run_id)
    print(f"shuffled of {profile.model.name} on {profile.corpus.name}: {run.run_id}")


if __name__ == "__main__":
    main()
