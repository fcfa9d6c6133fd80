"""The race: everybody gets the same question, and the scores are of what was answered."""

import pytest
from bokeh.events import Tap
from bokeh.models import ColumnDataSource

from fewshot.errors import FewShotError
from fewshot.explore.race import YOU, Race
from fewshot.explore.tabs.race import HOME, SIZE, RaceTab
from fewshot.metrics import paired_difference


@pytest.fixture
def race(shelf):
    return Race(shelf.characters, shelf.drawings, seed=1)


def test_the_learners_answer_the_very_same_question(race, shelf):
    race.answer(0)
    for name, learner in shelf.drawings.items():
        prediction = learner.module.predict(race.trial.episode)
        assert race.given[name] == int(prediction.outputs[0, 0].argmax())


def test_only_learners_for_as_many_classes_answer(race):
    race.begin(20)
    race.answer(race.trial.answer)
    assert set(race.given) == {YOU, "ProtoNet"}
    assert race.scores()[YOU].right == 1
    assert race.scores(5) == {}


def test_scores_are_shares_with_intervals_and_paired_differences(race):
    for number in range(6):
        race.answer(race.trial.answer if number else (race.trial.answer + 1) % 5)
        race.next()
    you, learner = (race.scores()[name] for name in (YOU, "MAML"))
    assert (you.right, you.trials) == (5, 6)
    assert you.low == pytest.approx(0.4365, abs=1e-4)  # Wilson, 1927, by hand
    assert you.high == pytest.approx(0.9699, abs=1e-4)
    assert learner.behind == paired_difference(race.results[5][YOU], race.results[5]["MAML"])


def test_a_question_is_answered_once_and_with_a_class_that_there_is(race):
    with pytest.raises(FewShotError, match="no class 5"):
        race.answer(5)
    race.answer(1)
    with pytest.raises(FewShotError, match="answered before"):
        race.answer(1)


def test_clicks_and_keys_answer_and_go_on(page, race):
    tab = RaceTab(page, race)
    first = race.trial
    tab.board._trigger_event(Tap(tab.board, x=2.5, y=1.0))  # the query itself
    assert not race.given
    tab.board._trigger_event(Tap(tab.board, x=2.5, y=-0.5))
    assert race.given[YOU] == 2
    assert f"it is {'abcde'[first.answer]}" in tab.verdict.text
    page.keys.data = {"tab": [RaceTab.title], "key": ["Enter"], "time": [1]}
    assert race.trial is not first
    page.keys.data = {"tab": ["Draw"], "key": ["d"], "time": [2]}
    assert not race.given
    page.keys.data = {"tab": [RaceTab.title], "key": ["d"], "time": [3]}
    assert race.given[YOU] == 3
    assert "of 2</td>" in tab.table.text


def test_the_query_is_dragged_onto_the_answer_and_goes_back(page, race):
    tab = RaceTab(page, race)
    for corner in [(3.0, 1.0), (float("nan"), 0.0)]:  # onto nothing
        tab.query.data = {**tab.query.data, "x": [corner[0]], "y": [corner[1]]}
        assert not race.given
    tab.query.data = {**tab.query.data, "x": [3.5 - SIZE / 2], "y": [-0.5 - SIZE / 2]}
    assert race.given[YOU] == 3
    assert (tab.query.data["x"], tab.query.data["y"]) == ([HOME[0]], [HOME[1]])
    tab.query.data = {"image": [], "x": [], "y": []}  # as Backspace deletes it
    assert (tab.query.data["x"], tab.query.data["y"]) == ([HOME[0]], [HOME[1]])


def test_twenty_classes_are_shown(page, race):
    tab = RaceTab(page, race)
    tab.ways.active = 1
    assert len(tab.classes.data["image"]) == 20
    assert isinstance(tab.query, ColumnDataSource)
    tab.ways.active = 0
    assert len(tab.classes.data["image"]) == 5
