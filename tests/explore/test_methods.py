"""Methods by year: every figure has a source, and the visitor's score is among them."""

from fewshot.explore.methods import by_kind
from fewshot.explore.race import Race
from fewshot.explore.tabs.methods import MethodsTab, table


def test_every_figure_stands_at_its_year_and_has_a_source():
    kinds = by_kind()
    assert list(kinds) == ["published", "measured here"]
    for figures in kinds.values():
        assert len(figures) >= 8
        for place, one in figures:
            assert abs(place - one.year) < 0.5
            assert one.source
            assert 50 < one.accuracy < 100


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
    assert table().count("<tr>") == sum(map(len, by_kind().values())) + 1
