"""Methods by year: every figure has a source, and the visitor's score is among them."""

import re

import pytest
from helpers import REPOSITORY

from fewshot.explore.methods import methods, spread
from fewshot.explore.race import Race
from fewshot.explore.tabs.methods import MethodsTab, table


def test_every_figure_has_a_source():
    every = methods()
    assert {one.kind for one in every} == {"published", "measured"}
    assert all(one.source and 50 < one.accuracy < 100 for one in every)
    assert [one.year for one in every] == sorted(one.year for one in every)


def test_what_was_measured_here_stands_in_the_page_that_it_names():
    for one in methods():
        if one.kind == "measured":
            page, _, run = one.source.partition(", ")
            rows = re.findall(rf"^\| {run} \|.*", (REPOSITORY / page).read_text(), re.MULTILINE)
            assert any(one.shown in row for row in rows)


def test_figures_of_one_year_stand_beside_one_another():
    assert spread([2011, 2017, 2017, 2017]) == pytest.approx([2011, 2016.7, 2017, 2017.3])


def test_the_star_is_the_score_in_trials_of_twenty(page, shelf):
    race = Race(shelf.characters, {}, seed=0)
    tab = MethodsTab(page, race)
    race.answer(0)
    assert tab.star.data["y"] == []
    race.begin(20)
    race.answer(race.trial.answer)
    race.next()
    race.answer((race.trial.answer + 1) % 20)
    assert tab.star.data["y"] == [50]
    assert tab.star.data["label"] == ["you, 1 of 2"]


def test_the_table_has_every_method():
    assert table(methods()).count("<tr>") == len(methods()) + 1
