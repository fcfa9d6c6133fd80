"""The tab of sinusoids, driven as a visitor drives it."""

import numpy as np
import pytest
from explore.driving import press

from fewshot.explore.sinusoids import GRID, Fit, Wave, episode, places
from fewshot.explore.tabs.sinusoids import Sinusoids


@pytest.fixture
def tab(page, shelf):
    return Sinusoids(page, shelf.sinusoids)


def click(tab: Sinusoids, x: float, y: float) -> None:
    """What the browser sends when somebody clicks into a plot."""
    tab.points.data = {"x": [*tab.points.data["x"], x], "y": [*tab.points.data["y"], y]}


def test_the_support_is_on_the_wave_and_the_sixth_point_replaces_the_oldest(tab):
    for x in range(6):
        click(tab, x - 3, 5.0)
    expected = Fit.of(tab.learners[tab.choices[0].value], episode(Wave(2.5, 0.8), np.arange(-2.0, 3)))
    assert tab.fits[0].errors == pytest.approx(expected.errors)
    tab.amplitude.value = 1.0
    expected = Fit.of(tab.learners[tab.choices[0].value], episode(Wave(1.0, 0.8), np.arange(-2.0, 3)))
    assert tab.fits[0].errors == pytest.approx(expected.errors)


def test_the_fit_moves_with_the_steps_and_its_error_is_shown(tab):
    for x in (-4, -2, 0, 2, 4):
        click(tab, x, 0)
    tab.steps.value = 7
    learner = tab.learners[tab.choices[1].value]
    task = episode(Wave(2.5, 0.8), np.array([-4.0, -2, 0, 2, 4]))
    expected = learner.after_steps(task, 7)[-1]
    assert tab.lines[1].data["y"] == pytest.approx(expected.flatten().numpy(), abs=1e-5)
    error = np.mean((expected.flatten().numpy() - 2.5 * np.sin(GRID + 0.8)) ** 2)
    assert f"<b>{error:.3f}</b>" in tab.errors[1].text


def test_maml_gets_nearer_than_the_pretrained_network(shelf):
    task = episode(Wave(4.0, 2.0), np.array([-4.0, -2, 0, 2, 4]))
    errors = {name: Fit.of(shelf.sinusoids[name], task).errors for name in ("Baseline", "MAML")}
    assert errors["MAML"][5] < errors["Baseline"][5] / 2
    assert errors["MAML"][5] < errors["MAML"][0] / 2


def test_without_points_no_step_changes_anything(tab):
    tab.steps.value = 10
    assert tab.fits[0].errors.tolist() == [tab.fits[0].errors[0]] * 11


def test_dice_and_clear(tab):
    layout = tab.layout()
    press(layout, "Dice")
    assert len(tab.points.data["x"]) == 5
    press(layout, "Clear")
    assert tab.points.data["x"] == []


def test_what_a_visitor_makes_up_does_no_harm(tab):
    tab.points.data = {"x": [float("nan"), "x", 1e9], "y": [0, 0, 0]}
    assert places(tab.points.data["x"]).tolist() == [5.0]
    tab.steps.value = 10**6
    tab.amplitude.value = -1e300
    assert tab.wave.amplitude == 0.1
    assert np.isfinite(tab.lines[0].data["y"]).all()
