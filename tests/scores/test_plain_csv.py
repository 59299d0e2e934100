"""Tables of one's own: the template, other names, encodings and separators, and what makes a row unusable."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.scores.reader import read_scores
from core.scores.score_rows import metrics_without_direction, with_directions
from core.scores.table import TEMPLATE_COLUMNS, csv_template
from tests.scores.files import codes, read_text, row, skipped, taken

HEADER = "model,benchmark,metric,n_shot,suite,value,std_error,unit,higher_is_better\n"


def test_the_template_is_read_as_it_stands():
    content = csv_template()
    assert content.startswith(b"\xef\xbb\xbf") and content.count(b"\r\n") == 3
    found = read_scores("template.csv", content)
    assert found.format == "csv" and len(taken(found)) == 2 and skipped(found) == {} and codes(found) == []
    score = row(found, "lambada_openai", "acc")
    assert (score.repository, score.revision, score.filter, score.n_shot) == (
        "EleutherAI/pythia-160m",
        "step143000",
        "none",
        0,
    )
    assert (score.value, score.std_error, score.unit, score.higher_is_better) == (32.6, 0.65, "percent", True)
    assert (score.n_samples, score.is_partial, score.licence, score.as_of) == (5153, False, "CC0-1.0", "2024-06-30")
    assert row(found, "wikitext", "word_perplexity").std_error is None


def test_each_column_of_the_template_is_taken():
    header = csv_template().decode("utf-8-sig").splitlines()[0]
    assert header.split(",") == list(TEMPLATE_COLUMNS)


def test_three_columns_are_enough_and_the_rest_is_not_stated():
    score = taken(read_text("model,benchmark,value\norg/a,mine,0.5\n"))[0]
    assert (score.metric, score.filter, score.suite, score.unit, score.licence) == ("not stated",) * 5
    assert (score.n_shot, score.higher_is_better, score.std_error, score.as_of, score.source) == (
        None,
        None,
        None,
        None,
        "scores.csv",
    )


@pytest.mark.parametrize(
    "text",
    ["benchmark,value\nx,1\n", "model,value\na,1\n", "model,benchmark\na,b\n", "a;b;c\n1;2;3\n", "hello,world\n"],
)
def test_missing_columns_are_named_with_what_is_there(text):
    with pytest.raises(InputError, match="lacks .*Name its columns as `workdim scores template` does"):
        read_text(text)


def test_a_table_of_ones_own_has_a_row_for_each_model_and_a_column_for_each_benchmark():
    found = read_text(
        "Candidate,Helpdesk exam,Checked by,tone,n_shot\nours/a,71.5,Anna,,5\nours/b,33,Anna,0.4,\nours/c,,Bo,,\n"
    )
    scores = [(one.repository, one.benchmark, one.value, one.n_shot) for one in taken(found)]
    assert scores == [
        ("ours/a", "Helpdesk exam", 71.5, 5),
        ("ours/b", "Helpdesk exam", 33.0, None),
        ("ours/b", "tone", 0.4, None),
    ]
    assert [(r.code, r.detail) for r in found.remarks] == [("column_ignored", "Checked by")]
    assert metrics_without_direction(found) == ("Helpdesk exam", "tone")
    told = with_directions(found, {"Helpdesk exam": True, "tone": False})
    assert [score.higher_is_better for score in taken(told)] == [True, True, False]
    one, several = (
        read_text(f"model,{names},stderr\nours/a,{values},0.5\n")
        for names, values in (("mmlu", "61"), ("mmlu,gsm8k", "61,40"))
    )
    assert [score.std_error for score in taken(one)] == [0.5], "of the one value of its row"
    assert [score.std_error for score in taken(several)] == [None, None]
    assert ("column_ignored", "stderr") in [(remark.code, remark.detail) for remark in several.remarks]
    with pytest.raises(InputError, match="a column for each benchmark"):
        read_text("Candidate,Checked by\nours/a,Anna\n")


def test_other_names_of_columns_and_unknown_ones():
    found = read_text("Model_ID,Task,Score,stderr,colour\norg/a,arc,0.5,0.1,red\n")
    assert row(found, "arc", "not stated").std_error == 0.1
    assert [(r.code, r.detail) for r in found.remarks] == [("column_ignored", "colour")]


def test_japanese_columns_in_cp932():
    found = read_scores("表.csv", "モデル,ベンチマーク,値,単位\nrinna/x,日本語,50.5,percent\n".encode("cp932"))
    assert row(found, "日本語", "not stated").value == 50.5 and "encoding" in codes(found)
    assert found.remarks[0].detail == "CP932"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp932"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_encoding_with_every_separator(encoding, separator):
    text = "model,benchmark,value\nrinna/日本,arc,0.5\n".replace(",", separator)
    found = read_scores("x.csv", text.encode(encoding))
    assert taken(found)[0].repository == "rinna/日本" and taken(found)[0].value == 0.5
    assert ("separator" in codes(found)) is (separator != ",")


def test_blanks_around_the_name_for_no_filter_do_not_lose_it():
    found = read_text("model,benchmark,filter,value\na,b,none,1\nc,b, none ,1\nd,b, ,1\n")
    assert [score.filter for score in taken(found)] == ["none", "none", "not stated"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end(end):
    assert len(taken(read_text(f"model,benchmark,value{end}a,b,1{end}c,d,2{end}"))) == 2


def test_decimal_comma_only_where_the_comma_parts_no_cells():
    found = read_text("model;benchmark;value;std_error\na;b;0,5;0,01\n")
    assert (taken(found)[0].value, taken(found)[0].std_error) == (0.5, 0.01)
    assert codes(found.rows[0]).count("decimal_comma") == 2
    quoted = read_text('model,benchmark,value\na,b,"0,5"\n')
    assert skipped(quoted) == {"line 2": "not_a_number"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "no_value"),
        ("N/A", "no_value"),
        ("nan", "not_finite"),
        ("inf", "not_finite"),
        ("1e999", "not_finite"),
        ("1_000", "not_a_number"),
        ("0x1", "not_a_number"),
        ("５", "not_a_number"),
        ("50%", "not_a_number"),
        ("1,2,3", "not_a_number"),
        ("1.234.5", "not_a_number"),
        ("=1+1", "not_a_number"),
        ("high", "not_a_number"),
    ],
)
def test_values_that_are_none(value, code):
    assert skipped(read_text(f'model,benchmark,value\na,b,"{value}"\nc,d,1\n')) == {"line 2": code}


@pytest.mark.parametrize(
    ("row_", "code"),
    [
        (",b,m,,,1,,,", "name_missing"),
        ("a,,m,,,1,,,", "name_missing"),
        ("a,b,m,few,,1,,,", "not_readable"),
        ("a,b,m,,,1,,,perhaps", "not_readable"),
        ("a,b,m,-1,,1,,,", "not_readable"),
        ("a,b,m,2.5,,1,,,", "not_readable"),
        ("a\x07,b,m,,,1,,,", "name_with_control_characters"),
        ("a\u202eb,b,m,,,1,,,", "name_with_control_characters"),
        ("a" * 301 + ",b,m,,,1,,,", "name_too_long"),
        ("a,b,m,,,1,,", "ragged"),
        ("a,b,m,,,1,,,,", "ragged"),
    ],
)
def test_rows_that_cannot_be_used(row_, code):
    found = read_text(HEADER + row_ + "\nc,d,m,5,s,1,,percent,true\n")
    assert skipped(found) == {"line 2": code} and len(taken(found)) == 1


def test_what_decides_on_nothing_is_left_empty_and_told():
    found = read_text("model,benchmark,value,std_error,n_samples,as_of\na,b,1,-2,many,yesterday\n")
    score = taken(found)[0]
    assert (score.std_error, score.n_samples, score.as_of) == (None, None, None)
    assert sorted(codes(found.rows[0])) == ["left_out", "left_out", "no_std_error", "no_unit"]


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2024-06-30", "2024-06-30"),
        ("2024/6/1", "2024-06-01"),
        ("2024-06-30T12:00:00Z", "2024-06-30"),
        ("30.06.2024", None),
        ("2024-13-40", None),
    ],
)
def test_dates(date, expected):
    assert taken(read_text(f"model,benchmark,value,as_of\na,b,1,{date}\n"))[0].as_of == expected


@pytest.mark.parametrize(
    ("unit", "value", "code"),
    [
        ("percent", "101", "outside_percent"),
        ("%", "-1", "outside_percent"),
        ("fraction", "55", "outside_fraction"),
        ("elo", "1200", None),
        ("percent", "100", None),
    ],
)
def test_values_outside_their_unit_are_kept_and_told(unit, value, code):
    found = read_text(f"model,benchmark,value,unit\na,b,{value},{unit}\n")
    assert codes(found.rows[0]) == ([code] if code else []) and len(taken(found)) == 1


def test_the_same_again_is_skipped_and_a_contradiction_is_kept():
    found = read_text("model,benchmark,value\na,b,1\na,b,1\na,b,2\n")
    assert skipped(found) == {"line 3": "repeated"} and [s.value for s in taken(found)] == [1.0, 2.0]
    assert "differs_from" in codes(found.rows[2])


@pytest.mark.parametrize("column", ["metric", "filter", "suite", "revision", "source"])
def test_different_settings_or_sources_are_different_scores(column):
    found = read_text(f"model,benchmark,value,{column}\na,b,1,x\na,b,2,y\n")
    assert len(taken(found)) == 2 and "differs_from" not in codes(found.rows[1])


def test_partial_runs_are_marked():
    found = read_text("model,benchmark,value,is_partial\na,b,1,TRUE\nc,d,1,no\ne,f,1,\n")
    assert [s.is_partial for s in taken(found)] == [True, False, False]


def test_blank_lines_and_trailing_separators_are_nothing():
    found = read_text("\n\nmodel,benchmark,value,\n\na,b,1,\n,,,\n\n")
    assert len(found.rows) == 1 and len(taken(found)) == 1


def test_markup_is_kept_as_text():
    name = "<img src=x onerror=alert(1)>"
    assert taken(read_text(f"model,benchmark,value\n{name},b,1\n"))[0].repository == name


def test_columns_twice_are_refused():
    with pytest.raises(InputError, match="the column 'value' twice"):
        read_text("model,benchmark,value,value\na,b,1,2\n")
    with pytest.raises(InputError, match="has value twice, as 'value' and 'score'"):
        read_text("model,benchmark,value,score\na,b,1,2\n")


def test_a_header_alone_is_refused():
    with pytest.raises(InputError, match="holds no scores"):
        read_text("model,benchmark,value\n")


def test_standard_metrics_bring_their_direction_and_their_unit():
    found = read_text(
        "model,benchmark,metric,value\no/a,arc,acc,0.8\no/b,arc,acc,61\no/a,piqa,Exact Match,0.4\no/a,wiki,perplexity,12\n"
    )
    told = [(score.unit, score.higher_is_better) for score in taken(found)]
    assert told == [("percent", True), ("percent", True), ("fraction", True), ("perplexity", False)]
    assert {remark.code for row in found.rows for remark in row.remarks} == {"unit_by_metric", "direction_by_metric"}


def test_what_is_stated_comes_before_what_a_name_tells():
    score = taken(read_text("model,benchmark,metric,value,unit,higher_is_better\no/a,b,acc,0.5,percent,false\n"))[0]
    assert (score.unit, score.higher_is_better) == ("percent", False)


def test_a_metric_that_nobody_knows_is_asked_for_and_only_that_is_changed():
    found = read_text("model,benchmark,metric,value\no/a,b,taste,5\no/a,b,acc,0.5\no/a,c,acc,500\n")
    assert metrics_without_direction(found) == ("taste",)
    assert [score.unit for score in taken(found)] == ["not stated", "fraction", "not stated"]
    told = with_directions(found, {"taste": False, "acc": False})
    assert [score.higher_is_better for score in taken(told)] == [False, True, True]
    assert metrics_without_direction(told) == ()
