"""Inputs whose choice is kept in the URL: one or several of some options, a number, runs.

The first parameter is the label, the third the name of the choice in the URL.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.files import is_read_only
from core.locale import _, in_language, spoken
from core.ui import language, url_state
from core.ui.language import button_label, escape

T = TypeVar("T")
Options = Sequence[T] | Mapping[T, str]
"""What is chosen from, with names where they are not the options themselves."""
Drawing = TypeVar("Drawing", bound=Callable[..., None])

ALL = "all"
ANSWERED = "asked"
"""In place of the key of a group: the models of the answer that a page shows, or that leads to it."""
MAX_RUNS = 6
"""Runs that one figure can show: the palette has six colours."""
MAX_MEGABYTES = 25
"""Size of a file that can be uploaded, as in .streamlit/config.toml; the command line takes larger ones."""
_MIME_TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "parquet": "application/vnd.apache.parquet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "svg": "image/svg+xml",
    "toml": "application/toml",
    "yaml": "application/yaml",
    "zip": "application/zip",
}
"""Types of files by their endings: those that the `mimetypes` of Python gives depend on the machine."""


def may_write() -> bool:
    """False in an app that only shows: `workdim app --read-only`."""
    return not is_read_only()


def hidden_when_read_only(draw: Drawing) -> Drawing:
    """Decorate a function that draws what changes or starts something: a read-only app does not draw it.

    The warehouse refuses to write there too, whatever is drawn.
    """

    @functools.wraps(draw)
    def drawn(*arguments: Any, **keywords: Any) -> None:
        if may_write():
            draw(*arguments, **keywords)

    return cast(Drawing, drawn)


def row(align: Literal["top", "center", "bottom"] = "bottom", **more: Any) -> DeltaGenerator:
    """A container of what stands side by side as far as the window is wide enough."""
    return st.container(horizontal=True, vertical_alignment=align, **more)


def choose(label: str, options: Options[T], name: str, default: T | None = None, **more: Any) -> T:
    """Return one of a few options, all of them visible; the first by default."""
    return _choose_one(st.segmented_control, label, options, name, default, required=True, **more)


def choose_section(name: str, sections: Mapping[str, tuple[str, Callable[..., None]]]) -> Callable[..., None]:
    """Return the function that draws the chosen section of a page, the first by default; `sections` holds title and function of
    each."""
    titles = {key: title for key, (title, _show) in sections.items()}
    return sections[choose(_("Details"), titles, name, label_visibility="collapsed")][1]


def choose_from_list(label: str, options: Options[T], name: str, default: T | None = None, **more: Any) -> T:
    """Return one of many options, from a drop-down list; the first by default."""
    return _choose_one(st.selectbox, label, options, name, default, **more)


def _choose_one(
    widget: Callable[..., Any], label: str, options: Options[T], name: str, default: T | None, **more: Any
) -> T:
    url_state.restore_choice(name, list(options), next(iter(options)) if default is None else default)
    return _draw(widget, label, options, name, **more)


def choose_by_id(
    label: str, names: Mapping[str, str], name: str, default: str = "", above: Any = st, **more: Any
) -> str:
    """As `choose_from_list`, for ids, whose unique endings do in a link; drawn only where there are several.

    A link to what is not there is named in the container `above`.
    """
    warn_of_missing(label, list(names), name, above)
    default = default or next(iter(names), "")
    return choose_from_list(label, names, name, default, **more) if len(names) > 1 else default


def warn_of_missing(label: str, ids: Sequence[str], name: str, above: Any = st) -> None:
    """Say in the container `above` that a link names one that is not among the ids."""
    for asked in url_state.resolve_ids(name, ids, several=False):
        message = _("{what}: the link's {name} is not here.", what=label, name=escape(asked))
        above.warning(message, icon=":material/link_off:")


def choose_many(
    label: str,
    options: Options[T],
    name: str,
    default: Sequence[T] = (),
    max_selections: int | None = None,
    **more: Any,
) -> list[T]:
    """Return several of many options. Of a link with more than `max_selections` the first ones are taken, and a caption says so."""
    n_requested = len(url_state.restore_choices(name, list(options), default, max_selections))
    values = _draw(st.multiselect, label, options, name, max_selections=max_selections, **more)
    if max_selections is not None and n_requested > max_selections:
        st.caption(_("The link asks for {asked}; {n} are shown.", asked=n_requested, n=max_selections))
    return values


def _draw(widget: Callable[..., Any], label: str, options: Options[Any], name: str, **more: Any) -> Any:
    """Draw the widget of a choice that was restored, and publish what is chosen."""
    value = field(widget, label, name, options, **more)
    url_state.publish(name, value)
    return value


def field(
    widget: Callable[..., Any],
    label: str,
    name: str,
    options: Options[Any] | None = None,
    default: Any = None,
    **more: Any,
) -> Any:
    """Draw an input that keeps its value while other pages are drawn, and return it; `options` are what is chosen from."""
    if default is not None:
        st.session_state.setdefault(url_state.key(name), default)
    if options is not None:
        label_of = options.__getitem__ if isinstance(options, Mapping) else str
        is_of_buttons = widget == st.segmented_control  # whose labels are Markdown; those of a list are not
        format_func = (lambda option: button_label(label_of(option))) if is_of_buttons else label_of
        more |= {"options": list(options), "format_func": format_func}
    return widget(label, key=url_state.key(name), **more)


def choose_yes_no(label: str, name: str, default: bool, **more: Any) -> bool:
    """Return the state of a switch."""
    url_state.restore_choice(name, [True, False], default)
    value = field(st.toggle, label, name, **more)
    url_state.publish(name, value)
    return value


def unfolded(label: str, key: str) -> Any | None:
    """Draw an expander; returns it once it is open. What is folded is not made: every click draws a page anew."""
    expander = st.expander(label, key=key, on_change="rerun")
    return expander if expander.open else None


def upload(label: str, types: Sequence[str], key: str, **more: Any) -> Any:
    """Draw a file upload that says its limits in the reader's language."""
    limits = _("at most {n} MB: {types}", n=MAX_MEGABYTES, types=[kind.upper() for kind in types])
    own = f".st-key-{re.sub(r'[^a-zA-Z0-9_-]', '-', key)}"
    language.replace_texts({f"{own} [data-testid=stFileUploaderDropzoneInstructions] span": limits})
    return st.file_uploader(label, type=list(types), key=key, max_upload_size=MAX_MEGABYTES, **more)


def show_download(
    label: str, content: str | bytes | Callable[[], str | bytes], file_name: str, icon: str = "download", **more: Any
) -> None:
    """Draw a button that downloads a file; a function makes its content on the click, in a thread of its own."""
    if callable(content):
        content = functools.partial(in_language, spoken(), content)
    mime = _MIME_TYPES[file_name.rpartition(".")[2]]
    st.download_button(label, content, file_name, mime, on_click="ignore", icon=f":material/{icon}:", **more)


def show_link(page: str, label: str, icon: str, **params: str) -> None:
    """Draw a link to a page, with choices of its address."""
    st.page_link(f"pages/{page}.py", label=label, icon=f":material/{icon}:", query_params=params or None)


def read_number(
    name: str, default: float | None, minimum: float | None = None, maximum: float | None = None
) -> float | None:
    """Return the number of the address, whether or not its input is drawn now (`show_number_input`)."""
    value = url_state.restore_number(name, default, minimum, maximum)
    url_state.publish(name, "" if value is None else value)
    return value


def show_number_input(
    label: str, name: str, minimum: float | None = None, maximum: float | None = None, **more: Any
) -> None:
    """Draw the input of a number that `read_number` has returned in this run of the page."""
    st.number_input(label, key=url_state.key(name), min_value=minimum, max_value=maximum, value=None, **more)


def matching_rows(rows: pl.DataFrame, words: str, *columns: str | pl.Expr) -> pl.DataFrame:
    """The rows that contain every word in one of the columns, in upper or lower case."""
    text = pl.concat_str(columns, separator=" ", ignore_nulls=True).str.to_lowercase()
    return rows.filter(*(text.str.contains(word, literal=True) for word in words.lower().split()))
