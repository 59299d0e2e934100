"""The reader's language is ambient: each session, verb and deck words in its own, also side by side."""

import threading
from concurrent.futures import ThreadPoolExecutor

from core.errors import Sentence
from core.locale import in_language, speaking, spoken, translated, worded


def test_the_language_ends_with_what_is_said_in_it():
    assert spoken() == "en"
    with speaking("ja"):
        assert translated("Working dimension") == "作業次元"
        assert in_language("en", translated, "Working dimension") == "Working dimension"
        assert worded(Sentence("Working dimension")) == "作業次元"
    assert worded(Sentence("Working dimension")) == "Working dimension"


def test_two_threads_do_not_hear_each_other():
    both = threading.Barrier(2)

    def say(language: str) -> list[str]:
        heard = []
        with speaking(language):
            for _ in range(20):
                both.wait(10)
                heard.append(translated("Working dimension"))
        return heard

    with ThreadPoolExecutor(2) as pool:
        english, japanese = pool.map(say, ("en", "ja"))
    assert set(english) == {"Working dimension"} and set(japanese) == {"作業次元"}
