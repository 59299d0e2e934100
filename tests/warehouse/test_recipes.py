"""Recipes of reports: kept as files, found again, and their numbers held against the warehouse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.errors import InputError
from core.pilots.saved import Recipe, find_recipe
from core.tables import RecipeNumberRow
from core.warehouse import people
from core.warehouse.runs import ingest_parcel
from tests.profiles import make_profile
from tests.warehouse.test_parcels import RUN_IDS

RECIPE = Recipe("Board in June", (RUN_IDS[0],), language="ja", template="company.potx")


def number_row(n: int, value: float, **changed) -> RecipeNumberRow:
    key = json.dumps({"cloud": "one_per_type", "estimator": "d2", "run_id": RUN_IDS[0]})
    row = RecipeNumberRow(
        recipe_id=RECIPE.recipe_id,
        number=n,
        slide=2,
        slide_key="answer",
        place="title",
        text=f"{value:.3g}",
        value=value,
        source_table="run_summaries",
        source_column="inner_max",
        run_id=RUN_IDS[0],
        source_key=key,
    )
    return replace(row, **changed)


def test_a_recipe_is_kept_with_its_numbers_and_template_and_found_again(warehouse):
    people.save_recipe(warehouse, RECIPE, [number_row(1, 21.5)], "0.1", b"PK template")
    kept = people.save_recipe(warehouse, RECIPE, [number_row(1, 22.5), number_row(2, 3.0)], "0.2", b"PK template")
    (found,) = people.list_recipes(warehouse)
    assert found.recipe == RECIPE and found.code_version == "0.2" and found.n_numbers == 2
    assert found.created_at <= found.made_at == kept.made_at
    assert [one.value for one in people.recipe_numbers(warehouse, RECIPE.recipe_id)] == [22.5, 3.0]
    assert people.read_template(warehouse, RECIPE) == b"PK template"
    assert find_recipe([found], "Board in June") is found
    assert find_recipe([found], RECIPE.recipe_id[:9]) is find_recipe([found], RECIPE.recipe_id[-9:]) is found
    with pytest.raises(InputError, match="Board in June"):
        find_recipe([found], "Board in Juni")
    warehouse.delete("recipe", RECIPE.recipe_id)
    assert people.list_recipes(warehouse) == [] and people.read_template(warehouse, RECIPE) is None


def test_numbers_are_held_against_those_of_the_same_place_and_source(warehouse, add_parcel):
    kept, changed, gone = (
        number_row(1, 21.5),
        number_row(2, 3.5, source_column="final_dimension_pre_norm"),
        number_row(3, 1),
    )
    second = number_row(4, 8.0, slide_key="values-2")
    now = [
        replace(second, number=1, slide_key="values"),  # on another page of the same section
        replace(changed, text="4.2", value=4.2),
        replace(kept, number=7, value=21.5001),  # as it is written it is the same
    ]
    found = people.compare_numbers([kept, changed, gone, second], now)
    assert [one.state for one in found] == ["same", "changed", "gone", "same"]
    assert found[1].current_text == "4.2"
    ingest_parcel(warehouse, add_parcel(make_profile(RUN_IDS[0])))
    with pytest.raises(InputError, match=f"{RUN_IDS[1]} of this report is not in the warehouse"):
        people.check_runs(warehouse, replace(RECIPE, run_ids=RUN_IDS[:2]))


def test_bad_recipes_are_one_line(warehouse):
    for changed in ({"language": "fr"}, {"name": "a\nb"}, {"name": " "}):
        with pytest.raises(InputError):
            replace(RECIPE, **changed)
    with pytest.raises(InputError, match=r"8 can be kept\. Shrink its pictures"):
        people.save_recipe(warehouse, RECIPE, [], "0.1", b"x" * (people.MAX_TEMPLATE_BYTES + 1))
    with pytest.raises(InputError, match="None yet"):
        find_recipe([], "x")
