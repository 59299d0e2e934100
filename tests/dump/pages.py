"""Every page, in every state that one of its own controls leads to: sections are found by asking the page for them."""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import streamlit as st
from google.protobuf.message import Message
from streamlit.components.v2 import manifest_scanner
from streamlit.logger import set_log_level
from streamlit.proto.ButtonGroup_pb2 import ButtonGroup
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.testing.v1 import AppTest

from core.ui import inputs
from tests.dump.files import of_file
from tests.dump.texts import LANGUAGES, Folder, called, of_html, row, value
from tests.screens import PAGES, ROOT

NAMES = [page.removesuffix(".py") for page in PAGES]
_NOT_SAID = (
    *("id", "form_id", "icon", "page_script_hash", "deferred_file_id", "url", "component_name", "js_content"),
    *(
        "css_content",
        "tag",
        "type",
        "format",
        "anchor",
        "language",
        "config",
        "arrow_data",
        "imgs",
        "spec",
        "columns",
        "stack_trace",
    ),
)
"""Fields of Streamlit's messages that are no text for a reader, or are told by themselves."""
_LONGEST_WAIT = 60.0
"""Seconds."""
_TRIED = 4
"""Options of a list, which may be long, that are tried."""
_VALUES = ("value", "default", "disabled", "raw_value", "raw_values")
_CHART_TEXTS = ("text", "name", "hovertext", "hovertemplate", "customdata", "ticktext", "labels")
_CHART_NUMBERS = ("x", "y", "z", "array", "arrayminus", "base", "tickvals")


def dump(folder: Folder, warehouse: Path, names: Iterable[str] = NAMES) -> None:
    for page in names:
        for language in LANGUAGES:
            folder.write(f"pages/{page}.{language}.txt", of_page(warehouse, page, language), passing=page == "query")


def of_page(warehouse: Path, page: str, language: str) -> Iterator[str]:
    """What the page shows first, then what is other when one of its controls is changed, and those that appear then."""
    set_log_level("ERROR")  # it says that there is no browser
    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
    all_open = patch.object(inputs, "unfolded", lambda label, key: st.expander(label, key=key))
    with all_open, patch.dict("os.environ", {"WORKDIM_WAREHOUSE": str(warehouse)}), Screen(page, language) as screen:
        yield from (f"# {page}", *screen.lines())
        yield from _changed(screen, set(screen.lines()), set(), "")


def _changed(screen: Screen, known: set[str], met: set[str], path: str) -> Iterator[str]:
    controls = [one for one in screen.controls() if one.key not in met]
    met |= {one.key for one in controls}
    for control in controls:
        for option in control.others:
            screen.choose(control, option)
            lines = screen.lines()
            new = [line for line in lines if line not in known]
            place = f"{path} > {control.key}: {value(option)}"
            yield from ("", f"# {place[3:]}", *new, f"({len(lines) - len(new)} lines as before)")
            yield from _changed(screen, known | set(new), met, place)
        screen.choose(control, control.now)


@dataclass(frozen=True)
class Control:
    """One of a few options, a switch, or a list."""

    id: str
    key: str
    kind: str
    now: Any
    others: tuple[Any, ...]


class Screen:
    """A page in a browser's place."""

    def __init__(self, page: str, language: str) -> None:
        self._downloads: dict[str, list[str]] = {}
        self._app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        self._app.switch_page(f"pages/{page}.py")
        self._app.query_params["lang"] = language
        self._recording = patch.object(st, "download_button", self._recorded(st.download_button))

    def __enter__(self) -> Screen:
        self._recording.__enter__()
        self._run()
        return self

    def __exit__(self, *given: Any) -> None:
        self._recording.__exit__(*given)

    def _recorded(self, draw: Callable[..., Any]) -> Callable[..., Any]:
        """Each file of the page is made once, where it would be made on the click."""

        def recorded(label: str, data: Any, file_name: str, *given: Any, **more: Any) -> Any:
            if file_name not in self._downloads:
                content = data() if callable(data) else data
                self._downloads[file_name] = of_file(file_name, content)
            return draw(label, data, file_name, *given, **more)

        return recorded

    def lines(self) -> list[str]:
        shown = [line for node in _nodes(self._app._tree) for line in _of_node(node)]
        files = [line for name, content in self._downloads.items() for line in (f"--- {name}", *content)]
        return shown + files

    def controls(self) -> list[Control]:
        return [one for node in _nodes(self._app.main) if (one := _control(node)) is not None]

    def choose(self, control: Control, option: Any) -> None:
        """As the browser says it, which knows options by their labels; what it does not speak of stays as it is."""
        states = WidgetStates()
        state = states.widgets.add(id=control.id)
        if control.kind == "button_group":
            state.string_array_value.data[:] = [option]
        elif control.kind == "selectbox":
            state.string_value = option
        else:
            state.bool_value = option
        self._run(states)

    def _run(self, states: WidgetStates | None = None) -> None:
        """Draw the page, and again as long as it waits for something: a typed query answers from a process of its own."""
        self._app._run(states)
        end = time.monotonic() + _LONGEST_WAIT
        while self._app.get("progress") and time.monotonic() < end:
            time.sleep(0.2)
            self._app._run()


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", {}).values():
        yield from _nodes(child)


def _control(node: Any) -> Control | None:
    proto = getattr(node, "proto", None)
    if getattr(proto, "form_id", "") or getattr(proto, "disabled", False) or not getattr(node, "key", None):
        return None
    if node.type == "button_group" and proto.required and proto.click_mode == ButtonGroup.SINGLE_SELECT:
        now, *_ = [*proto.raw_values, *(node.options[at] for at in proto.default)]
        return Control(node.id, node.key, node.type, now, tuple(one for one in node.options if one != now))
    if node.type == "toggle":
        now = proto.value if proto.set_value else proto.default
        return Control(node.id, node.key, node.type, now, (not now,))
    if node.type == "selectbox" and len(node.options) > 1:
        now = proto.raw_value or node.options[proto.default]
        return Control(node.id, node.key, node.type, now, tuple(one for one in node.options if one != now)[:_TRIED])
    return None


# --- what an element says --------------------------------------------------------------------------------------


def _of_node(node: Any) -> Iterator[str]:
    proto, kind = getattr(node, "proto", None), getattr(node, "type", "")
    if not isinstance(proto, Message):
        return
    if kind == "html":
        if "<style" not in proto.body[:8] or "</style>" in proto.body:
            yield from of_html(proto.body.rpartition("</style>")[2] or "<p></p>")
        return
    yield from _of_message(proto, f"{kind} ")


def _of_message(message: Message, of: str = "") -> Iterator[str]:
    for field, content in message.ListFields():
        name = of + field.name
        if field.name == "arrow_data":
            yield from _table(content.data)
        elif field.name == "columns":
            yield from _columns(content)
        elif field.name == "spec":
            yield from _chart(json.loads(content))
        elif field.name == "imgs":
            yield from (line for one in content for line in _picture(one.url))
        elif isinstance(content, bytes):
            yield from of_html(content) if b"<svg" in content[:200] else ()
        elif field.name in _NOT_SAID:
            continue
        elif isinstance(content, Message):
            yield from _of_message(content, of)
        elif isinstance(content, str) and content:
            yield from (called(name, line) for line in value(content).split("\n"))
        elif field.name in _VALUES and isinstance(content, (bool, int, float)):
            yield called(name, value(content))
        elif not isinstance(content, (bool, int, float)):
            yield called(name, row(one.content if isinstance(one, Message) else one for one in content))


def _table(arrow: bytes) -> Iterator[str]:
    table = pl.read_ipc_stream(arrow)
    yield row(table.columns)
    yield from (row(one) for one in table.iter_rows())


def _columns(config: str) -> Iterator[str]:
    for name, column in json.loads(config or "{}").items():
        said = {key: column[key] for key in ("label", "help") if column and column.get(key)}
        if said:
            yield called(f"column {name}", row(said.values()))


def _picture(url: str) -> list[str]:
    head, _, content = url.partition(",")
    return of_html(base64.b64decode(content)) if head == "data:image/svg+xml;base64" else [f"picture {head[:22]}"]


def _chart(spec: dict[str, Any]) -> Iterator[str]:
    """Titles, names, labels and points of a figure of plotly."""
    for axis, layout in spec["layout"].items():
        if axis != "template" and isinstance(layout, (dict, list)):
            yield from _chart_part(axis, layout)
    for trace in spec["data"]:
        yield called("trace", f"{trace.get('type', 'scatter')} {trace.get('name', '')}")
        yield from _chart_part("", trace)


def _chart_part(path: str, part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for one in part:
            yield from _chart_part(path, one)
        return
    if not isinstance(part, dict):
        return
    for key, content in part.items():
        place = f"{path}.{key}" if path else key
        if key in _CHART_NUMBERS and (points := _points(content)):
            yield called(f"chart {place}", row(points))
        elif key in _CHART_TEXTS and content:
            yield called(f"chart {place}", row(content) if isinstance(content, list) else content)
        elif isinstance(content, (dict, list)):
            yield from _chart_part(place, content)


def _points(content: Any) -> list[Any]:
    """Plotly writes arrays of numbers as base64."""
    if isinstance(content, dict) and "bdata" in content:
        return np.frombuffer(base64.b64decode(content["bdata"]), content["dtype"]).tolist()
    if isinstance(content, list):
        return [row(one) if isinstance(one, list) else one for one in content]
    return [content] if isinstance(content, (int, float, str)) else []
