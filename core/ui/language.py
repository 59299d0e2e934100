"""The reader's language, `?lang=` in the URL, else what the browser prefers; and what Markdown shows: names and sentences letter by
letter, never as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache
from gettext import NullTranslations
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from core import locale
from core.errors import WorkdimError
from core.locale import DIRECTION_CONTROLS, N_, _, worded
from core.ui import url_state
from core.wording.labels import day

LANGUAGES = locale.LANGUAGES
NAME = "lang"
PLACES = {
    "runs list --deleted": N_("Show the trash"),
    "runs undelete": N_("Show the trash"),
    "runs again": N_("Measure"),
    "runs show": N_("Provenance"),
    "runs tag": N_("Tags"),
    "runs untag": N_("Tags"),
    "runs": N_("Start"),
    "measure": N_("Measure"),
    "compare": N_("Measure"),
    "jobs": N_("Measure"),
    "pilot": N_("Measure"),
    "scores alias": N_("Names of models"),
    "scores list": N_("Imported files"),
    "scores remove": N_("Imported files"),
    "scores template": N_("Template for a table (CSV)"),
    "scores": N_("Import"),
    "rules": N_("Rules"),
    "rank": N_("Choose"),
    "plan": N_("Layer plans"),
    "slides": N_("Share"),
    "--all": N_("Compared models"),
    "--blocks": N_("Blocks that are to go"),
    "--chat plain": N_("Chats without their template"),
    "--column": N_("Column of the text"),
    "--controls": N_("Control passes with any protocol"),
    "--device": N_("Device"),
    "--dtype": N_("Number format"),
    "--encoding": N_("Encoding"),
    "--replace": N_("Replace the saved query of this name"),
    "--task": N_("Path of my task file (JSONL)"),
    "--text": N_("Text"),
    "--verify": N_("Verify on held-out text"),
}
"""How a command begins, or an option, as messages name it -> the page, section or control that does the same on a screen.
Of several beginnings of one command the longest comes first."""
_PLACE, _ELSEWHERE = N_("“{place}”"), N_("{command} (in a terminal)")
_BLANKS = re.compile(r"(?<=[\u3001-\u9fff\uff00-\uffef]) (?=「)|(?<=[」）]) (?=[\u3001-\u9fff\uff00-\uffef])")
"""Around a place in a Japanese sentence, where a command had them."""
_OF_TERMINAL = re.compile(r"`workdim (?P<command>[^`]*)`|(?<![\w-])(?P<option>--(?:chat plain|[a-z][a-z-]*))(?!\w)")


class OnScreen(NullTranslations):
    """A catalogue of messages for a reader of a screen: a command or an option that a message names is told as the place that
    does the same there, or as one of the terminal."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._of_language = locale.translations(language)

    def gettext(self, message: str) -> str:
        return self._placed(self._of_language.gettext(message))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self._placed(self._of_language.ngettext(msgid1, msgid2, n))

    def _placed(self, message: str) -> str:
        placed, n_named = _OF_TERMINAL.subn(self._place, message)
        return _BLANKS.sub("", placed) if n_named else message

    def _place(self, named: re.Match[str]) -> str:
        asked = f"{named['command'] or named['option']} "
        for beginning, place in PLACES.items():
            if asked.startswith(f"{beginning} "):
                return self._of_language.gettext(_PLACE).format(place=self._of_language.gettext(place))
        return self._of_language.gettext(_ELSEWHERE).format(command=named[0])


_on_screen = cache(OnScreen)


_restored: ContextVar[str | None] = ContextVar("restored", default=None)
"""The language of the run of a page in this thread: a page says a thousand words, and the session is slow to ask."""


def _is_on_screen() -> bool:
    return _restored.get() is not None or get_script_run_ctx(suppress_warning=True) is not None


def _catalogue(language: str) -> NullTranslations:
    return _on_screen(language) if _is_on_screen() else locale.translations(language)


def restore() -> str:
    """Set the language of this run, before anything is drawn."""
    preferred = (st.context.locale or "en").split("-")[0]
    chosen = url_state.restore_choice(NAME, list(LANGUAGES), preferred if preferred in LANGUAGES else "en")
    _restored.set(chosen)
    return chosen


def current() -> str:
    """The code of the reader's language, `en` or `ja`; English where no screen is drawn."""
    if not _is_on_screen():
        return "en"
    return _restored.get() or st.session_state.get(url_state.key(NAME), "en")


locale.ask_reader_by(current, _catalogue)


def as_ascii(markdown: str) -> str:
    """Markdown with character references for other letters than ASCII.

    Streamlit asks whether the label of a button in a row begins with an emoji, and loads its list of all emojis for
    letters that are not ASCII: a seventh of a second of the first screen.
    """
    return markdown.encode("ascii", "xmlcharrefreplace").decode("ascii")


def replace_texts(texts: Mapping[str, str]) -> None:
    """Show texts (CSS selector -> text) in the place of English ones that Streamlit writes and offers no option for."""
    if current() == "en":
        return
    styles = [
        f"{selector} {{ font-size: 0 !important; white-space: normal; overflow: visible; }} "
        f'{selector}::after {{ font-size: 0.875rem; content: "{text}"; }}'
        for selector, text in texts.items()
    ]
    st.html(f"<style>{' '.join(styles)}</style>")


def replace_streamlit_texts() -> None:
    """Replace the English texts that any input may show."""
    hint = "[data-testid=InputInstructions] span:first-child"
    replace_texts(
        {
            "[data-testid=stFileUploaderDropzone] [data-testid=stBaseButton-secondary] p": _("Choose a file"),
            f":is([data-testid=stTextInput], [data-testid=stNumberInput]) {hint}": _("Press Enter to apply"),
            f"[data-testid=stTextArea] {hint}": _("Press Ctrl+Enter to apply"),
            "[data-key=__select_all__] > div": _("Select all"),
            "[role=listbox][data-empty=true] [role=option] span": _("No results"),
        }
    )


def show_switch(chosen: str) -> None:
    """Draw the choice of language in the sidebar, and set the page's language for screen readers and line breaks."""
    with st.sidebar:
        st.segmented_control(
            "Language / 言語",
            list(LANGUAGES),
            format_func=lambda lang: as_ascii(LANGUAGES[lang]),
            key=url_state.key(NAME),
            required=True,
        )
        script = f"<script>document.documentElement.lang = '{chosen}'</script>"
        st.html(script, unsafe_allow_javascript=True)
    url_state.publish(NAME, chosen)


def local_time(time: datetime, in_table: bool = False) -> str:
    """A time in the reader's zone, in words or as a table sorts it: `2026年11月26日 9:05`, `2026-11-26 09:05`; the text names UTC
    where the browser has told no zone."""
    local = in_zone(time)
    text = f"{local:%Y-%m-%d %H:%M}" if in_table else f"{day(local)} {local.hour}:{local:%M}"
    return text if st.context.timezone_offset is not None else f"{text} UTC"


def local_day(time: datetime) -> str:
    """The day of a time in the reader's zone, in words."""
    return day(in_zone(time))


def in_zone(time: datetime) -> datetime:
    """A time of UTC in the reader's zone, without it: by that zone's summer and winter where this machine knows them, else by
    what the browser's clock is ahead of UTC today, which it gives in minutes, positive west of Greenwich."""
    with suppress(ValueError, OSError, ZoneInfoNotFoundError):
        return time.replace(tzinfo=UTC).astimezone(ZoneInfo(st.context.timezone or "")).replace(tzinfo=None)
    return time - timedelta(minutes=st.context.timezone_offset or 0)


# --- names and sentences for Markdown --------------------------------------------------------------------------------

_JOINER = "\u2060"
"""A character of no width: it breaks icons and addresses, which Streamlit recognises after backslashes are removed."""
_RECOGNISED = re.compile(
    r"(?<=:)(?=material/|streamlit:)"
    r"|(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)"
    r"|(?<=\w@)(?=[-\w]+(?:\.[-\w]+)+(?<![-\d_]))",
    re.IGNORECASE,
)
_DIRECTION = re.compile(f"[{DIRECTION_CONTROLS}]")
_MARKUP = re.compile(r"[\\*_\[\]$:~`<>#&]")
_LINE_START = re.compile(r"^[ \t]*(?:([-+=])(?=[-=\s]|$)|(\d{1,9})([.)])(?=\s|$))?", re.MULTILINE)
"""Indented code, lists and underlines of headings begin here."""
_COMMAND = re.compile(r"(`workdim [^`\n]*`)")


def escape(text: str | WorkdimError) -> str:
    """A text for Markdown that shows its own characters, as the stars of `sales_*final*`.

    Every name or sentence that goes through Markdown passes here. The message of an error comes out in the reader's
    language, its commands as code.
    """
    parts = _COMMAND.split(_DIRECTION.sub("", worded(text)))
    marked = (
        part if n % 2 else _MARKUP.sub(r"\\\g<0>", _RECOGNISED.sub(_JOINER, part)) for n, part in enumerate(parts)
    )
    return _LINE_START.sub(_escape_line_start, "".join(marked))


def as_lines(lines: Iterable[str | None]) -> str:
    """Lines one below the other, as a note or a help shows them; an empty one is none."""
    return "  \n".join(escape(line) for line in lines if line)


def show_notes(lines: Iterable[str | None]) -> None:
    """Draw each line as a note of its own; an empty one is none."""
    for line in filter(None, lines):
        st.caption(escape(line))


def show_list(lines: Iterable[str]) -> None:
    """Draw the lines as a list."""
    st.markdown("\n".join(f"- {escape(line)}" for line in lines))


def show_error(error: str | WorkdimError) -> None:
    """Draw why something cannot be read or done."""
    st.error(escape(error), icon=":material/error:")


def _escape_line_start(match: re.Match[str]) -> str:
    sign, digits, end = match.groups()
    return f"\\{sign}" if sign else f"{digits}\\{end}" if digits else ""


def button_label(text: str) -> str:
    """Escape the label of a button in a row, as Markdown in ASCII (`language.as_ascii`)."""
    return as_ascii(escape(text))
