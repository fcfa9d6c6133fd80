"""Sinusoids: the tasks are the functions that they say, and the same ones for everyone."""

import math

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TINY
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot.cli import run
from fewshot.data import SinusoidDataModule
from fewshot.errors import FewShotError
from fewshot.evaluation import read_curve
from fewshot.evaluation.compare import paired
from fewshot.networks import MLP


def drawn(split: str = "train", numbers: range = range(4), **options: object):
    data = SinusoidDataModule(**options)
    return data.dataset(split).__getitems__(numbers)


@settings(deadline=None)
@given(shots=st.integers(1, 20), queries=st.integers(1, 20), tasks=st.integers(1, 4), seed=st.integers(0, 5))
def test_a_task_is_one_sinusoid_within_the_ranges(shots, queries, tasks, seed):
    episode = drawn(numbers=range(tasks), shots=shots, queries=queries, seed=seed)
    assert episode.support.x.shape == episode.support.y.shape == (tasks, shots, 1)
    assert episode.query.x.shape == episode.query.y.shape == (tasks, queries, 1)
    assert episode.classes is None
    data = SinusoidDataModule(shots=shots, queries=queries, seed=seed)
    for task in range(tasks):
        share_a, share_phi = data.dataset("train").draw(task)[:2]
        amplitude, phase = 0.1 + 4.9 * share_a, math.pi * share_phi
        for x, y in (episode.support, episode.query):
            assert x.abs().max() <= 5
            torch.testing.assert_close(y[task], (amplitude * (x[task].double() + phase).sin()).float())


def test_the_ranges_are_options():
    episode = drawn(amplitude=(2.0, 2.0 + 1e-9), phase=(1.0, 1.0 + 1e-9), x=(0.0, 1.0))
    assert 0 <= episode.support.x.min() <= episode.support.x.max() <= 1
    torch.testing.assert_close(episode.support.y, 2 * (episode.support.x + 1).sin())


def test_an_episode_is_a_function_of_seed_split_and_number_alone():
    one = drawn(numbers=[7])
    torch.testing.assert_close(one.query.x, drawn(numbers=range(5, 9)).query.x[2:3], rtol=0, atol=0)
    assert torch.equal(one.query.x, SinusoidDataModule().dataset("train", length=9, first=5)[2].query.x)
    np.random.seed(1), torch.manual_seed(1)  # no global state comes in
    assert torch.equal(one.query.x, drawn(numbers=[7]).query.x)
    for other in (drawn(numbers=[7], seed=1), drawn("val", numbers=[7]), drawn(numbers=[8])):
        assert not torch.equal(one.query.x, other.query.x)


def test_the_stream_is_the_published_one():
    """These numbers may not change: results are comparable across versions, of fewshot and of NumPy."""
    amplitude, phase, x, *_ = SinusoidDataModule(seed=3).dataset("test").draw(1000)
    assert [amplitude, phase, x] == pytest.approx([0.9860844081026048, 0.7868100839459697, 0.5180342322381508])


def test_more_shots_change_the_support_set_alone_and_keep_the_smaller_one():
    five, ten = drawn("test", test_shots=5), drawn("test", test_shots=10)
    assert torch.equal(five.query.y, ten.query.y)
    assert torch.equal(five.support.x, ten.support.x[:, :5])


@pytest.mark.parametrize("name", ["amplitude", "phase", "x"])
@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf)])
def test_an_empty_range_is_refused(name, ends):
    with pytest.raises(FewShotError, match=f"{name} must be a range from a lower to a higher number"):
        SinusoidDataModule(**{name: ends})


def test_another_range_is_another_data_set():
    assert SinusoidDataModule().digest == SinusoidDataModule(shots=3, seed=1).digest
    assert SinusoidDataModule(phase=(0, math.pi)).digest == SinusoidDataModule(phase=(0.0, math.pi)).digest
    assert SinusoidDataModule().digest != SinusoidDataModule(phase=(0, 2 * math.pi)).digest


def test_the_network_is_linear_layers_with_relus():
    network = MLP(widths=(4, 3))
    first, second = network.layers
    x = torch.randn(6, 1)
    torch.testing.assert_close(network(x), second(first(x).relu()).relu())
    assert (network.out_features, sum(p.numel() for p in network.parameters())) == (3, 2 * 4 + 5 * 3)
    assert MLP(in_features=9)(torch.randn(2, 1, 3, 3)).shape == (2, 40)  # images are flattened


@pytest.mark.parametrize("options", [{"widths": ()}, {"widths": (3, 0)}, {"in_features": 0}])
def test_a_network_without_units_is_refused(options):
    with pytest.raises(FewShotError, match="must be at least 1"):
        MLP(**options)


def test_a_network_for_other_examples_is_refused(fails, tmp_path):
    place = [*TINY, f"--trainer.default_root_dir={tmp_path}"]
    message = fails("fit", "--config=configs/glyphs_maml.yaml", "--model.network=MLP", *place)
    assert message.endswith("the data have 784: --model.network.in_features 784")
    message = fails("fit", "--config=configs/sinusoid_maml.yaml", "--model.network=Conv4", *place)
    assert "images of 1 channels, and the data have examples of shape [1]" in message


def test_the_lowest_error_is_the_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = f"--config={REPOSITORY / 'configs' / 'sinusoid_maml.yaml'}"
    cli = run(["fit", config, *TINY, "--trainer.val_check_interval=1", "--model.compile=false"])
    best = cli.trainer.checkpoint_callback
    errors = read_curve("logs/sinusoid_maml", "val/mse").values
    assert len(errors) == 2
    assert best.best_model_score.item() == pytest.approx(min(errors))
    assert best.mode == "min"


def row(name: str, scores: list[float]) -> dict:
    return {"name": name, "knob": "shots", "value": 5, "metric": "mse", "mse": sum(scores) / 4, "scores": scores}


def test_the_lower_error_is_ahead():
    (pair,) = paired([row("a", [0.1, 0.2, 0.1, 0.2]), row("b", [0.9, 1.0, 0.8, 1.1])])
    assert (pair["difference"], pair["verdict"]) == (pytest.approx(-0.8), "a is ahead")
    (pair,) = paired([row("a", [0.1, 0.2, 0.1, 0.2]), row("b", [0.9, 1.0, 0.8, math.nan])])
    assert pair["verdict"] == "not finite"


def test_a_learner_of_labels_and_targets_that_are_numbers_do_not_go_together(fails, tmp_path):
    place = [*TINY, f"--trainer.default_root_dir={tmp_path}"]
    message = "MAMLModule learns to classify (loss cross-entropy), and SinusoidDataModule has other targets"
    assert message in fails("fit", "--config=configs/sinusoid_maml.yaml", "--model.loss=cross-entropy", *place)
    assert "ProtoNetModule learns to classify" in fails(
        "fit", "--config=configs/sinusoid_maml.yaml", "--model=ProtoNetModule", "--model.network=MLP", *place
    )
    message = "MAMLModule learns a regression (loss mse), and GlyphsDataModule has other targets"
    assert message in fails("fit", "--config=configs/glyphs_maml.yaml", "--model.loss=mse", *place)
    assert not list(tmp_path.iterdir())
