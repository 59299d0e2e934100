"""The reader's choices: kept in the URL, so that a view can be shared, and in the session while pages change.

An input with a choice named `name` first restores its value (`restore_*`), is drawn with the key `key(name)`, and then
publishes what was chosen (`publish`).

`bind="query-params"` is not used: a bound parameter can be set neither by a link from another page nor by code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import streamlit as st

from core.ids import matching_ids

T = TypeVar("T")

_PREFIX = "view."
_PUBLISHED = "view published"
_DEFAULTS = "view defaults"
_SEPARATOR = ","
_TO_TOP = "<script>document.querySelector('[data-testid=stMain]')?.scrollTo(0, 0)</script>"
_ADDRESS = "view address"
_SETTLED = "view settled"
"""Session-state key: the value that each widget started from when it was last drawn."""
_TOUCHED = "view touched"
_pending: ContextVar[dict[str, tuple[str, str]] | None] = ContextVar("pending", default=None)
"""Choices to be published when the page is drawn: name -> its text, and its text in the address, which is empty for a
default."""


def keep_widget_values() -> None:
    """Keep the values of widgets that this page does not draw, which Streamlit would forget.

    Where a widget was changed, the parameters of the address are ignored in this run: a reader who chooses again before
    the browser has received the last address sends the one before. In this run alone, since another page may not draw what was changed.
    """
    values = {str(k): st.session_state[k] for k in st.session_state if str(k).startswith(_PREFIX)}
    restored = _kept(_SETTLED)
    changed = {key: value for key, value in values.items() if key in restored and value != restored[key]}
    st.session_state[_TOUCHED] = bool(changed)
    restored |= changed
    for key, value in values.items():
        st.session_state[key] = value


def key(name: str) -> str:
    """The session-state key of the widget of a choice."""
    return _PREFIX + name


def restore_choice(name: str, options: Collection[T], default: T) -> T:
    """Set the value that the widget `name` starts from: that of a link, else of this session, else the default.

    A value that was only the default follows a changed default: the horizontal axis depends on the runs chosen.
    """
    by_text = {str(option): option for option in options}
    return _restore(name, default, by_text.get, lambda value: value if value in by_text.values() else default)


def restore_choices(name: str, options: Collection[T], default: Sequence[T], max_values: int | None = None) -> list[T]:
    """As `restore_choice`, for several values: those that are no longer options are left out; where none remains, the
    widget starts from the default again.

    Returns all values requested; the widget starts from the first `max_values` of them.
    """
    by_text = {str(option): option for option in options}

    def known(values: Sequence[T]) -> list[T]:
        return [value for value in values if value in by_text.values()] or list(default if values else ())

    def read(link: str) -> list[T]:
        return [by_text[text] for text in dict.fromkeys(split_values(link)) if text in by_text]

    values = _restore(name, list(default), read, known)
    set_value(name, values[:max_values])
    return values


def restore_number(
    name: str, default: float | None, minimum: float | None = None, maximum: float | None = None
) -> float | None:
    """As `restore_choice`, for a number between two limits, or none; a link with anything else is ignored."""

    def read(text: str) -> float | None:
        with suppress(ValueError):
            return number if math.isfinite(number := float(text)) else None
        return None

    def within(value: float | None) -> float | None:
        too_low = value is not None and minimum is not None and value < minimum
        too_high = value is not None and maximum is not None and value > maximum
        return default if too_low or too_high else value

    return _restore(name, default, read, within)


def restore_text(name: str, default: str) -> str:
    """As `restore_choice`, for typed text."""
    return _restore(name, default, str, str)


def _restore(name: str, default: T, read: Callable[[str], T | None], valid: Callable[[T], T]) -> T:
    """`read` gives the value of a link's text, None where it is none; `valid` replaces a value that cannot be."""
    value = st.session_state.get(key(name), default)
    if value == _kept(_DEFAULTS).get(name, default):
        value = default
    linked = from_link(name)
    read_value = None if linked is None else read(linked)
    value = valid(value if read_value is None else read_value)
    set_value(name, value)
    _kept(_DEFAULTS)[name] = default
    return value


def set_value(name: str, value: object) -> None:
    """Set what a widget starts from, here or on another page, which is no click of the reader's."""
    st.session_state[key(name)] = value
    _kept(_SETTLED)[key(name)] = value


def requested(name: str) -> list[str]:
    """The values that a link asks for, or else those chosen before, as texts; they need not be options any more."""
    linked = from_link(name)
    if linked is not None:
        return split_values(linked)
    current = st.session_state.get(key(name), ())
    return [current] if isinstance(current, str) else [str(value) for value in current]


def asked(name: str) -> str | None:
    """As `requested`, for one value; None where nothing was asked for."""
    linked = from_link(name)
    current = st.session_state.get(key(name)) if linked is None else linked
    return None if current is None else str(current)


@contextmanager
def batched() -> Iterator[None]:
    """Change the address once for all choices made here: each change is a message to the browser and a step of its
    history.

    Where another click interrupts the drawing, nothing is published. A page ends early by `stop`: Streamlit takes no
    address after `st.stop`.
    """
    if _pending.get() is not None:  # the outer block publishes all
        yield
        return
    pending: dict[str, tuple[str, str]] = {}
    token = _pending.set(pending)
    try:
        yield
    finally:
        _pending.reset(token)
    _write_address(pending)


def stop() -> NoReturn:
    """End the page here, with the choices made so far in the address."""
    pending = _pending.get()
    if pending:
        _write_address(pending)
    st.stop()


def _write_address(pending: dict[str, tuple[str, str]]) -> None:
    before = st.query_params.to_dict()
    after = before | {name: shown for name, (_, shown) in pending.items()}
    after = {name: text for name, text in after.items() if text}
    if after != before:
        st.query_params.from_dict(after)  # another click may interrupt here: then nothing was published
    _kept(_PUBLISHED).update({name: published for name, (published, _) in pending.items()})
    if _ADDRESS in st.session_state:
        st.session_state[_ADDRESS] = (st.session_state[_ADDRESS][0], after)


def apply_back_button(page: str, kept: Collection[str] = ()) -> list[str]:
    """Reset the choices, but those `kept`, that the browser's Back button removed from the address of a page.

    They were in the address when the page was last drawn. On another page they stay, since links to it carry none.
    Returns their names: a choice that was restored before, as the language, needs another run.
    """
    last_page, last_params = st.session_state.get(_ADDRESS, (page, {}))
    current = st.query_params.to_dict()
    is_back = last_page == page and current != last_params and not st.session_state.get(_TOUCHED)
    removed = [name for name in last_params if name not in (*current, *kept)] if is_back else []
    for name in removed:
        st.session_state.pop(key(name), None)
        _kept(_PUBLISHED).pop(name, None)
    st.session_state[_ADDRESS] = (page, current)
    return removed


def is_followed(page: str) -> bool:
    """Whether a link on the page itself was followed, as from what was stored to what it changed: what it leads to may stand
    above what is in sight. To be asked before `apply_back_button`."""
    last_page, last_params = st.session_state.get(_ADDRESS, ("", {}))
    current = st.query_params.to_dict()
    return last_page == page and bool(current.items() - last_params.items()) and not st.session_state.get(_TOUCHED)


def scroll_to_top() -> None:
    """Bring the beginning of the page in sight."""
    st.html(_TO_TOP, unsafe_allow_javascript=True)


def choose(name: str, value: object) -> None:
    """Set a choice without its widget, as by a click on a picture, before the page is drawn again."""
    st.session_state[key(name)] = str(value)


def forget(name: str) -> None:
    """Let a choice of another page begin from its default again."""
    st.session_state.pop(key(name), None)


def leave_to_link(name: str) -> None:
    """Let a choice that the address does not name begin from its default, unless the reader makes it now."""
    if name not in st.query_params and not st.session_state.get(_TOUCHED):
        forget(name)


def resolve_ids(name: str, ids: Sequence[str], *, several: bool) -> list[str]:
    """Replace unique beginnings and endings of ids in a link to one thing or to several by the whole ids; returns what
    matches none of `ids`, or more than one."""
    linked = from_link(name)
    if linked is None:
        return []
    asked = {text: matching_ids(ids, text) if text else [] for text in (split_values(linked) if several else [linked])}
    found = list(dict.fromkeys(matches[0] for matches in asked.values() if len(matches) == 1))
    if several or found:
        st.session_state[key(name)] = found if several else found[0]
    _kept(_PUBLISHED)[name] = linked  # the link is dealt with
    return [text for text, matches in asked.items() if len(matches) != 1]


def publish(name: str, value: object) -> None:
    """Show a choice in the URL at the end of `batched`; of one value, unless it is the default."""
    if isinstance(value, (list, tuple)):
        text = shown = join_values(value)
    else:
        text, is_default = str(value), name in _kept(_DEFAULTS) and value == _kept(_DEFAULTS)[name]
        shown = "" if is_default else text
    if (pending := _pending.get()) is not None:
        pending[name] = (text, shown)


def join_values(values: Sequence[object]) -> str:
    """Several values as one parameter; a comma within a value is written as %2C."""
    return _SEPARATOR.join(str(value).replace("%", "%25").replace(_SEPARATOR, "%2C") for value in values)


def split_values(link: str) -> list[str]:
    """The values that `join_values` joined."""
    return [text.replace("%2C", _SEPARATOR).replace("%25", "%") for text in link.split(_SEPARATOR)]


def from_link(name: str) -> str | None:
    """The parameter of a link, which wins over the session: any that this app did not write into the address itself.

    The browser's Back button changes the address only; Streamlit does not run the page again for it.
    """
    text = st.query_params.get(name)
    is_ours = text == _kept(_PUBLISHED).get(name) or name in (_pending.get() or {}) or st.session_state.get(_TOUCHED)
    return None if text is None or is_ours else text


def _kept(key: str) -> dict[str, Any]:
    """A dictionary of this session."""
    return st.session_state.setdefault(key, {})
