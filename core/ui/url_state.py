"""What the reader chose: in the URL, so that a view can be shared, and kept while the session moves between pages.

`bind="query-params"` is not used: a bound parameter can be set neither by a link from another page nor by code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn, TypeVar

import streamlit as st

T = TypeVar("T")

_PREFIX = "view."
_PUBLISHED = "view published"
_DEFAULTS = "view defaults"
_SEPARATOR = ","
_ADDRESS = "view address"
_SETTLED = "view settled"
_TOUCHED = "view touched"
_ENDING = 4
"""Letters of an id's end that a link may ask for it by, at least."""
_waiting: ContextVar[dict[str, tuple[str, str]] | None] = ContextVar("waiting", default=None)
"""What was chosen while a page is drawn: name -> its text, and its text in the address, empty where it needs none."""


def keep() -> None:
    """Streamlit forgets the value of a widget that a page does not draw; writing it again keeps it.

    Where a widget was changed, the address asks for nothing in this run: who chooses faster than the browser takes in the
    last address sends the one before.
    """
    kept = {str(k): st.session_state[k] for k in st.session_state if str(k).startswith(_PREFIX)}
    settled = _settled()
    st.session_state[_TOUCHED] = any(key in settled and value != settled[key] for key, value in kept.items())
    for key, value in kept.items():
        st.session_state[key] = value


def key(name: str) -> str:
    return _PREFIX + name


def settle_one(name: str, options: Sequence[T], default: T) -> T:
    """The value that the widget `name` is to start from: what a link asks, else this session's, else the default.

    A value that was only the default so far follows the default: the horizontal axis depends on the runs chosen.
    """
    by_text = {str(option): option for option in options}
    kept = st.session_state.get(key(name), default)
    if kept not in by_text.values() or kept == _defaults().get(name):
        kept = default
    value = by_text.get(_asked(name) or "", kept)
    _settle(name, value)
    _defaults()[name] = default
    return value


def settle_many(name: str, options: Sequence[T], default: Sequence[T], most: int | None = None) -> list[T]:
    """As `settle_one`, for several values; those that are no longer there are left out, and where none is, it starts
    from the default again.

    Returns all that was asked for; the widget starts from the first `most` of them.
    """
    by_text = {str(option): option for option in options}
    asked = _asked(name)
    if asked is not None:
        wanted = [by_text[text] for text in dict.fromkeys(map(_unmarked, asked.split(_SEPARATOR))) if text in by_text]
    else:
        kept = st.session_state.get(key(name), default)
        kept = default if list(kept) == _defaults().get(f"{name}, several") else kept
        wanted = [value for value in kept if value in by_text.values()]
        if kept and not wanted:  # none of it is left: another pilot, for example
            wanted = list(default)
    _defaults()[f"{name}, several"] = list(default)
    _settle(name, wanted[:most])
    return wanted


def _settle(name: str, value: object) -> None:
    st.session_state[key(name)] = value
    _settled()[key(name)] = value


def settle_number(
    name: str, default: float | None, lowest: float | None = None, highest: float | None = None
) -> float | None:
    """As `settle_one`, for a number between two ends, or none; a link with anything else asks for nothing."""
    kept = st.session_state.get(key(name), default)
    value = default if kept == _defaults().get(name, default) else kept
    if (asked := _asked(name)) is not None:
        value = _number(asked, value)
    if value is not None and ((lowest is not None and value < lowest) or (highest is not None and value > highest)):
        value = default
    _settle(name, value)
    _defaults()[name] = default
    return value


def settle_text(name: str, default: str) -> str:
    """As `settle_one`, for what a person types."""
    kept = st.session_state.get(key(name), default)
    value = default if kept == _defaults().get(name, default) else kept
    value = asked if (asked := _asked(name)) is not None else value
    _settle(name, value)
    _defaults()[name] = default
    return value


def _number(text: str, otherwise: float | None) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return otherwise
    return found if math.isfinite(found) else otherwise


def wanted(name: str, default: Sequence[str] = ()) -> list[str]:
    """What a link asks for, or else what was chosen before, by its text; it need not be there any more."""
    asked = _asked(name)
    if asked is not None:
        return [_unmarked(text) for text in asked.split(_SEPARATOR)]
    kept = st.session_state.get(key(name), default)
    return [kept] if isinstance(kept, str) else [str(value) for value in kept]


@contextmanager
def together() -> Iterator[None]:
    """All choices made here change the address once: each change is a message to the browser, and a step of its history.

    Where drawing is cut short, by another click, nothing is published. A page ends early by `stop`: Streamlit takes no
    address after `st.stop`.
    """
    if _waiting.get() is not None:  # what is around it publishes all
        yield
        return
    waiting: dict[str, tuple[str, str]] = {}
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
    _write(waiting)


def stop() -> NoReturn:
    """End the page here, with the address of what was chosen so far."""
    waiting = _waiting.get()
    if waiting:
        _write(waiting)
    st.stop()


def _write(waiting: dict[str, tuple[str, str]]) -> None:
    before = st.query_params.to_dict()
    after = before | {name: shown for name, (_, shown) in waiting.items()}
    after = {name: text for name, text in after.items() if text}
    if after != before:
        st.query_params.from_dict(after)  # another click may cut this short: then nothing was published
    _published().update({name: published for name, (published, _) in waiting.items()})
    if _ADDRESS in st.session_state:
        st.session_state[_ADDRESS] = (st.session_state[_ADDRESS][0], after)


def follow_back(page: str) -> list[str]:
    """Undo what the browser's Back took out of the address of a page: choices that were there when it was last drawn and
    are there no longer start from their defaults. On another page they stay, since its links carry none.

    Returns their names: one that was settled already, as the language, needs another run.
    """
    at, last = st.session_state.get(_ADDRESS, (page, {}))
    now = st.query_params.to_dict()
    is_back = at == page and now != last and not st.session_state.get(_TOUCHED)
    gone = [name for name in last if name not in now] if is_back else []
    for name in gone:
        st.session_state.pop(key(name), None)
        _published().pop(name, None)
    st.session_state[_ADDRESS] = (page, now)
    return gone


def setting(name: str) -> Callable[[object], None]:
    """For what is clicked on instead of its widget: makes a choice, by its text, before the page is drawn again."""

    def choose(value: object) -> None:
        st.session_state[key(name)] = str(value)

    return choose


def resolve(name: str, options: Sequence[str]) -> list[str]:
    """Of what a link asks for, what is not among `options`; a unique ending of one stands for it."""
    asked = _asked(name)
    if asked is None:
        return []
    found, unknown = [], []
    for text in dict.fromkeys(map(_unmarked, asked.split(_SEPARATOR))):
        ends = [text] if text in options else [one for one in options if len(text) >= _ENDING and one.endswith(text)]
        found += ends if len(ends) == 1 else []
        unknown += [] if len(ends) == 1 else [text]
    st.session_state[key(name)] = found
    _published()[name] = st.query_params[name]  # it is followed herewith
    return unknown


def publish(name: str, value: object) -> None:
    """Show the choice in the URL; what is as it would be anyway needs no room there."""
    text = joined(value) if isinstance(value, (list, tuple)) else str(value)
    shown = "" if name in _defaults() and value == _defaults()[name] else text
    waiting = _waiting.get()
    if waiting is not None:
        waiting[name] = (text, shown)
        return
    if not shown:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != shown:
        st.query_params[name] = shown
    _published()[name] = text


def turn_link(name: str, into: str, **more: str) -> None:
    """A link that asks by a short name (`?compare=a,b`) asks for what it means (`?runs=a,b&section=compare`)."""
    text = st.query_params.get(name)
    if text is not None:
        kept = {key: value for key, value in st.query_params.to_dict().items() if key != name}
        st.query_params.from_dict(kept | {into: text} | more)


def joined(values: Sequence[object]) -> str:
    """Several values as one parameter; a comma within a value is written as %2C."""
    return _SEPARATOR.join(str(value).replace("%", "%25").replace(_SEPARATOR, "%2C") for value in values)


def _unmarked(text: str) -> str:
    return text.replace("%2C", _SEPARATOR).replace("%25", "%")


def _asked(name: str) -> str | None:
    """A parameter that we did not write ourselves comes from a link, and a link wins.

    The browser's Back button changes the address only; Streamlit does not run the page again for it.
    """
    text = st.query_params.get(name)
    is_ours = text == _published().get(name) or name in (_waiting.get() or {}) or st.session_state.get(_TOUCHED)
    return None if text is None or is_ours else text


def _published() -> dict[str, str]:
    return st.session_state.setdefault(_PUBLISHED, {})


def _settled() -> dict[str, object]:
    """What each widget started from when it was last drawn."""
    return st.session_state.setdefault(_SETTLED, {})


def _defaults() -> dict[str, object]:
    return st.session_state.setdefault(_DEFAULTS, {})
