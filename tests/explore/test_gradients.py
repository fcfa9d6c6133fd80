"""The tab of the toy: its numbers are those of the family study."""

import pytest
import torch
from explore.driving import press

from fewshot.explore.tabs.gradients import ALGORITHMS, Gradients
from fewshot.explore.toy import LENGTH, OUTER_LR, OUTER_STEPS, arrows, paths
from fewshot.studies.meta_loss import GRID, descent_directions, meta_loss, task_losses

START = torch.tensor([1.0, -1.0], dtype=torch.float64)


@pytest.fixture
def tab(page):
    return Gradients(page)


def test_the_surface_is_the_meta_loss_after_as_many_steps(tab):
    for steps in (0, 6):
        tab.steps.value = steps
        expected = meta_loss(GRID, steps).clamp(1e-4, 10).log10().numpy()
        assert tab.surface.data["image"][0] == pytest.approx(expected)


def test_the_arrows_leave_theta_where_it_was_dragged(tab):
    tab.theta.data = {"a": [1.0], "b": [-1.0]}
    for name, direction in descent_directions(START, 2).items():
        data = tab.arrows[name].data
        way = torch.tensor([data["to_a"][0] - 1, data["to_b"][0] + 1], dtype=torch.float64)
        assert way.norm().item() == pytest.approx(LENGTH)
        assert (way @ direction / way.norm() / direction.norm()).item() == pytest.approx(1)
    assert tab.losses.data["first"][0] == pytest.approx(task_losses(torch.stack([START] * 2))[0].item())


def test_lambda_turns_imaml_alone():
    weak, strong = (arrows(START, 3, strength) for strength in (0.2, 10.0))
    assert [name for name in ALGORITHMS if weak[name] != strong[name]] == ["iMAML"]


def test_a_path_takes_outer_steps_downhill(tab):
    ways = paths(START, 2, 1.0, outer_steps=5)
    for name, way in ways.items():
        assert way.shape == (6, 2)
        assert way[1] - way[0] == pytest.approx(OUTER_LR * descent_directions(START, 2)[name].numpy())
        assert meta_loss(way[-1], 2) < meta_loss(START, 2)
    tab.theta.data = {"a": [1.0], "b": [-1.0]}
    layout = tab.layout()
    press(layout, "Go")
    assert len(tab.paths["MAML"].data["a"]) == OUTER_STEPS + 1
    assert tab.paths["MAML"].data["a"][:6] == pytest.approx(ways["MAML"][:, 0].tolist())
    press(layout, "Clear")
    assert tab.paths["MAML"].data["a"] == [1.0, 1.0]


def test_theta_stays_on_the_surface(tab):
    tab.theta.data = {"a": [1e9], "b": [float("nan")]}
    assert tab.theta.data == {"a": [10.0], "b": [0.0]}
    tab.theta.data = {"a": [], "b": []}
    assert tab.theta.data == {"a": [0.0], "b": [0.0]}
