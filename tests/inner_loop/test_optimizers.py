"""What a gradient does to the weights, by hand; and what goes on from one step to the next."""

import pytest
import torch

from fewshot.inner_loop import InnerAdam, InnerSGD

WEIGHTS = {"weight": torch.tensor([1.0, 2.0]), "bias": torch.tensor([0.0])}
TASKS = {name: weight.expand(2, -1) for name, weight in WEIGHTS.items()}  # two tasks start from the same weights
GRADIENTS = [torch.tensor([[1.0, 10.0], [2.0, 20.0]]), torch.tensor([[3.0], [4.0]])]


def test_a_fixed_rate_has_nothing_to_learn_and_no_state():
    optimizer = InnerSGD(0.1, WEIGHTS)
    assert not list(optimizer.parameters())
    weights, state = optimizer.step(0, TASKS, GRADIENTS, optimizer.start(TASKS))
    assert state is None
    torch.testing.assert_close(weights["weight"], torch.tensor([[0.9, 1.0], [0.8, 0.0]]))
    torch.testing.assert_close(weights["bias"], torch.tensor([[-0.3], [-0.4]]))
    assert TASKS["weight"].tolist() == [[1, 2], [1, 2]]


def test_learned_rates_start_at_the_inner_step_size_and_are_each_their_own():
    per_element, per_step = (InnerSGD(0.1, WEIGHTS, learn, steps=3) for learn in ("meta-sgd", "per-step"))
    assert [rates.shape for rates in per_element.rates] == [(2,), (1,)]
    assert [rates.shape for rates in per_step.rates] == [(3,), (3,)]
    assert all((rates == 0.1).all() for optimizer in (per_element, per_step) for rates in optimizer.rates)

    per_element.rates[0].data = torch.tensor([0.1, 0.01])
    weights, _ = per_element.step(7, TASKS, GRADIENTS, None)
    torch.testing.assert_close(weights["weight"], torch.tensor([[0.9, 1.9], [0.8, 1.8]]))

    per_step.rates[0].data = torch.tensor([0.1, 0.2, 0.3])
    assert [per_step.at(number)[0].item() for number in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


def test_learned_rates_are_plotted_by_name():
    per_element, per_step = (InnerSGD(0.1, WEIGHTS, learn, steps=2) for learn in ("meta-sgd", "per-step"))
    per_element.rates[0].data = torch.tensor([0.1, 0.3])
    scalars = {name: value.item() for name, value in per_element.named_scalars().items()}
    assert scalars == pytest.approx({"weight": 0.2, "bias": 0.1})
    assert list(per_step.named_scalars()) == ["step0/weight", "step1/weight", "step0/bias", "step1/bias"]
    assert InnerSGD(0.1, WEIGHTS).named_scalars() == {}


def test_adam_by_hand_and_from_task_to_task():
    adam = InnerAdam(0.1, WEIGHTS, beta2=0.5)
    weights, state = adam.step(0, TASKS, GRADIENTS, adam.start(TASKS))
    # In the first step from nothing the corrected root of the moments is the gradient itself: a step of 0.1 each.
    torch.testing.assert_close(weights["weight"], TASKS["weight"] - 0.1)
    weights, state = adam.step(1, weights, GRADIENTS, state)
    torch.testing.assert_close(weights["weight"], TASKS["weight"] - 0.2)
    assert (adam.count, adam.moments[0].tolist()) == (0, [0, 0])  # the module has seen nothing of it

    adam.keep(state)
    # Moments g² (1 - 0.5²) of gradients 1, 10 and 2, 20: their mean over the two tasks.
    torch.testing.assert_close(adam.moments[0], 0.75 * torch.tensor([(1 + 4) / 2, (100 + 400) / 2]))
    weights, state = adam.step(0, TASKS, [torch.zeros(2, 2), torch.ones(2, 1)], adam.start(TASKS))
    assert (state.seen, adam.count) == (3, 2)
    torch.testing.assert_close(weights["weight"], TASKS["weight"])  # no gradient, no step, and no momentum
    # The moment of the bias: 0.5 * 0.75 * (9 + 16) / 2 + 0.5, corrected by 1 - 0.5³.
    root = ((0.5 * 0.75 * 12.5 + 0.5) / 0.875) ** 0.5
    torch.testing.assert_close(weights["bias"], torch.full((2, 1), -0.1 / root))


def test_adams_moments_are_part_of_a_checkpoint():
    adam = InnerAdam(0.1, WEIGHTS)
    _, state = adam.step(0, TASKS, GRADIENTS, adam.start(TASKS))
    adam.keep(state)
    other = InnerAdam(0.1, WEIGHTS)
    other.load_state_dict(adam.state_dict())
    assert other.count == 1
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(other.moments, adam.moments))
