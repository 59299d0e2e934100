"""A screen claims no more than what was measured."""

import re

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from core.locale import FOLDER

RETIRED = re.compile(
    "really uses|means that no one number|that layer holds more|are clusters|what makes the real points|版で"
)
"""An estimate is no count, a picture no proof of a cause, and a curve is held against its interval."""


def messages() -> list[Message]:
    with (FOLDER / "ja" / "LC_MESSAGES" / "ui.po").open("rb") as file:
        return [message for message in read_po(file, locale="ja") if message.id]


@pytest.mark.parametrize("told", ["id", "string"])
def test_no_retired_claim_comes_back(told: str) -> None:
    assert not [text for text in (str(getattr(message, told)) for message in messages()) if RETIRED.search(text)]


def test_a_curve_is_called_not_gaussian_only_beyond_its_interval() -> None:
    (told,) = [str(message.id) for message in messages() if "are not Gaussian" in str(message.id)]
    assert "the curve's band lies below" in told
