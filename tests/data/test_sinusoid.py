"""Sinusoids: the tasks are the functions that they say, and the same ones for everyone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot.data import SinusoidDataModule
from fewshot.errors import FewShotError


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
@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), None])
def test_an_empty_range_is_refused(name, ends):
    with pytest.raises(FewShotError, match=f"{name} must be a range from a lower to a higher number"):
        SinusoidDataModule(**{name: ends})


def test_more_points_than_a_task_can_have_are_refused():
    for option in ("shots", "queries", "test_shots", "test_queries"):
        with pytest.raises(FewShotError, match=f"^{option} must be at most 1000000, not 999999999999$"):
            SinusoidDataModule(**{option: 999_999_999_999})


def test_another_range_is_another_data_set():
    assert SinusoidDataModule().digest == SinusoidDataModule(shots=3, seed=1).digest
    assert SinusoidDataModule(phase=(0, math.pi)).digest == SinusoidDataModule(phase=(0.0, math.pi)).digest
    assert SinusoidDataModule().digest != SinusoidDataModule(phase=(0, 2 * math.pi)).digest
    assert SinusoidDataModule().content == SinusoidDataModule().digest


def test_data_state_what_learners_ask():
    spec = SinusoidDataModule().spec
    assert (spec.outputs, spec.test_outputs, spec.loss, spec.example_shape) == (1, 1, "mse", (1,))
    assert not spec.class_names
