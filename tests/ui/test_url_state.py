"""What the reader chose lives in the URL, survives a change of pages, and a link wins over both."""

from __future__ import annotations

import pytest
from streamlit.runtime.state.query_params_proxy import QueryParamsProxy
from streamlit.testing.v1 import AppTest


def picker() -> None:
    import streamlit as st

    from core.ui import inputs, url_state

    url_state.keep_widget_values()
    if st.session_state.get("elsewhere"):
        st.stop()
    with url_state.batched():
        inputs.choose("Axis", ["layer", "depth"], "axis", st.session_state.get("default axis", "layer"))
        inputs.choose_from_list("Rank", [1, 2, 4], "n1", 1)
        inputs.choose_many("Runs", ["a", "b", "c", "d,e", "100%2C"], "runs", ["a"], max_selections=3)
        inputs.choose_yes_no("Newest", "newest", True)


def values(app: AppTest) -> tuple:
    return (app.button_group[0].value, app.selectbox[0].value, app.multiselect[0].value, app.toggle[0].value)


def drawn(**asked: str) -> AppTest:
    app = AppTest.from_function(picker, default_timeout=20)
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def test_without_a_link_the_defaults_hold_and_leave_the_url_short() -> None:
    app = drawn()
    assert values(app) == ("layer", 1, ["a"], True)
    assert dict(app.query_params) == {"runs": "a"}


def test_a_link_is_followed_and_typed() -> None:
    app = drawn(axis="depth", n1="4", runs="c,b", newest="False")
    assert values(app) == ("depth", 4, ["c", "b"], False)


def test_what_a_link_asks_wrongly_is_left_out() -> None:
    app = drawn(axis="sideways", n1="3", runs="z,b", newest="maybe")
    assert values(app) == ("layer", 1, ["b"], True)


def test_a_choice_goes_to_the_url() -> None:
    app = drawn(n1="4")
    app.multiselect[0].set_value(["a", "c"])
    app.selectbox[0].set_value(2).run()
    assert values(app)[1:3] == (2, ["a", "c"])
    assert app.query_params["runs"] == "a,c" and app.query_params["n1"] == "2"


def test_a_comma_within_a_value_goes_to_the_url_and_comes_back() -> None:
    app = drawn()
    app.multiselect[0].set_value(["d,e", "100%2C", "a"]).run()
    link = app.query_params["runs"]
    again = drawn(runs=link if isinstance(link, str) else link[0])
    assert values(again)[2] == ["d,e", "100%2C", "a"]


def test_of_a_link_that_asks_for_too_many_the_first_are_shown_and_that_is_said() -> None:
    app = drawn(runs="a,b,c,d%2Ce")
    assert values(app)[2] == ["a", "b", "c"]
    assert app.caption[0].value == "The link asks for 4; 3 are shown."
    assert not drawn(runs="a,b,c").caption


def test_a_choice_outlives_a_page_that_does_not_draw_it() -> None:
    app = drawn()
    app.selectbox[0].set_value(2).run()
    app.session_state["elsewhere"] = True
    app.run()
    app.query_params.clear()  # the menu's links carry no parameters
    app.session_state["elsewhere"] = False
    app.run()
    assert values(app)[1] == 2
    assert app.query_params["n1"] == "2"


def test_a_later_link_wins_over_what_was_chosen() -> None:
    app = drawn(runs="b")
    app.multiselect[0].set_value(["a", "c"]).run()
    app.query_params["runs"] = "b,c"
    app.run()
    assert values(app)[2] == ["b", "c"]


def test_a_choice_changed_on_a_page_that_does_not_draw_it_keeps_no_later_link_from_being_followed() -> None:
    app = drawn(runs="b")
    app.session_state["elsewhere"] = True
    app.session_state["view.runs"] = ["a"]
    app.run()
    app.session_state["elsewhere"] = False
    app.query_params["runs"] = "c"
    app.run()
    assert values(app)[2] == ["c"]


def test_a_default_that_was_never_touched_follows_the_default() -> None:
    app = drawn()
    app.session_state["default axis"] = "depth"
    app.run()
    assert values(app)[0] == "depth"


def page() -> None:
    import streamlit as st

    from core.ui import inputs, url_state

    url_state.keep_widget_values()
    try:
        with url_state.batched():
            inputs.choose_from_list("Rank", [1, 2, 4], "n1", 1)
            inputs.choose_many("Runs", ["a", "b", "c"], "runs")
            if st.session_state.get("cut short"):
                raise RuntimeError
            inputs.choose_yes_no("Newest", "newest", True)
    except RuntimeError:
        pass


def test_a_page_changes_the_address_once_whatever_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict] = []
    write = QueryParamsProxy.from_dict
    monkeypatch.setattr(QueryParamsProxy, "from_dict", lambda self, new: written.append(new) or write(self, new))
    app = AppTest.from_function(page, default_timeout=20).run()
    assert written == []
    app.selectbox[0].set_value(4)
    app.multiselect[0].set_value(["a", "c"])
    app.toggle[0].set_value(False).run()
    assert written == [{"n1": "4", "runs": "a,c", "newest": "False"}]
    app.selectbox[0].set_value(1).run()
    assert dict(app.query_params) == {"runs": "a,c", "newest": "False"} and app.selectbox[0].value == 1


def test_a_page_that_is_cut_short_keeps_the_choice_and_not_the_old_address() -> None:
    app = AppTest.from_function(page, default_timeout=20).run()
    app.session_state["cut short"] = True
    app.selectbox[0].set_value(4).run()
    assert dict(app.query_params) == {}
    app.session_state["cut short"] = False
    app.run()
    assert app.selectbox[0].value == 4 and dict(app.query_params) == {"n1": "4"}


def framed() -> None:
    import streamlit as st

    from core.ui import inputs, url_state

    url_state.keep_widget_values()
    at = st.session_state.get("page", "one")
    url_state.apply_back_button(at)
    with url_state.batched():
        inputs.choose_from_list("Rank", [1, 2, 4], "n1", 1)
        inputs.choose_yes_no("Newest", "newest", True)
        url_state.stop()


def test_back_undoes_a_choice_on_its_page_and_a_page_that_stops_has_its_address() -> None:
    app = AppTest.from_function(framed, default_timeout=20).run()
    app.selectbox[0].set_value(4).run()
    app.toggle[0].set_value(False).run()
    assert dict(app.query_params) == {"n1": "4", "newest": "False"}
    del app.query_params["newest"]  # what the browser's Back does
    app.run()
    assert (app.selectbox[0].value, app.toggle[0].value) == (4, True) and dict(app.query_params) == {"n1": "4"}
    app.session_state["page"] = "two"
    app.query_params.clear()
    app.run()
    assert app.selectbox[0].value == 4, "a choice survives a change of pages"


def ids() -> None:
    import streamlit as st

    from core.ui import inputs, url_state

    with url_state.batched():
        st.write(url_state.resolve_ids("runs", ["run-aaaa", "run-bbbb"], several=True))
        inputs.choose_many("Runs", ["run-aaaa", "run-bbbb"], "runs", ["run-aaaa"])
        inputs.choose_by_id("Plan", {"plan-aaaa": "A", "plan-bbbb": "B"}, "plan")


def test_a_link_asks_by_a_unique_ending_and_what_is_not_there_is_known() -> None:
    app = AppTest.from_function(ids, default_timeout=20)
    app.query_params["runs"] = "bbbb,run-cccc"
    app.run()
    assert app.multiselect[0].value == ["run-bbbb"] and app.json[0].value == '["run-cccc"]'
    assert app.query_params["runs"] == "run-bbbb"


def test_so_does_a_link_to_one_thing() -> None:
    for asked, value, told in (
        ("bbbb", "plan-bbbb", []),
        ("plan-cccc", "plan-aaaa", ["Plan: the link's plan-cccc is not here."]),
    ):
        app = AppTest.from_function(ids, default_timeout=20)
        app.query_params["plan"] = asked
        app.run()
        assert app.selectbox[0].value == value and [one.value for one in app.warning] == told
        assert dict(app.query_params).get("plan") == (None if told else "plan-bbbb")
