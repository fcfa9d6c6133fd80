"""Reptile against hand-computed updates, and against torch's own Adam run task after task."""

from types import SimpleNamespace

import pytest
import torch
from helpers import Identity, image_tasks, outer_gradients, quiet_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fewshot.algorithms import ReptileModule
from fewshot.data import SinusoidDataModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import MLP, Conv4

A, W, B = 0.1, 0.5, 0.25  # inner rate and start, chosen freely


def linear_model(**options: object) -> ReptileModule:
    """The model w x + b, and plain gradient descent inside."""
    module = ReptileModule(
        Identity(), outputs=1, loss="mse", inner_optimizer="sgd", inner_lr=A, adaptation_steps=2, **options
    ).double()
    module.network.head.weight.data.fill_(W), module.network.head.bias.data.fill_(B)
    return module


def points(*tasks: tuple[float, float]) -> Episode:
    """A support point (x, y) for each task; it serves as query, too."""
    x, y = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in zip(*tasks))
    return Episode(Examples(x, y), Examples(x, y))


def two_steps(x: float, y: float, w: float = W, b: float = B) -> tuple[float, float]:
    """Gradient descent on (w x + b - y)^2, written out."""
    for _ in range(2):
        slope = 2 * (w * x + b - y)
        w, b = w - A * slope * x, b - A * slope
    return w, b


def way_back(module: ReptileModule, episode: Episode) -> list[Tensor]:
    """What is left in the gradients: θ minus the mean of the adapted weights."""
    return list(outer_gradients(module, episode).values())


@pytest.mark.parametrize("order", ["batched", "serial"])  # the same without moments
def test_the_gradient_is_the_way_back_from_the_mean_of_the_adapted_weights(order):
    tasks = (2.0, 3.0), (-1.0, 1.0)
    (w1, b1), (w2, b2) = (two_steps(*task) for task in tasks)
    dw, db = way_back(linear_model(tasks=order), points(*tasks))
    assert dw.item() == pytest.approx(W - (w1 + w2) / 2)
    assert db.item() == pytest.approx(B - (b1 + b2) / 2)


def test_a_training_goes_a_smaller_share_of_the_way_at_every_step():
    module = linear_model(meta_lr=0.5)
    quiet_trainer(max_steps=4).fit(module, DataLoader([points((2.0, 3.0))] * 4, batch_size=None))
    w, b = W, B
    for share in (0.5, 0.375, 0.25, 0.125):  # on a straight line to nothing
        adapted_w, adapted_b = two_steps(2.0, 3.0, w, b)
        w, b = w + share * (adapted_w - w), b + share * (adapted_b - b)
    assert module.network.head.weight.item() == pytest.approx(w)
    assert module.network.head.bias.item() == pytest.approx(b)


def reptile(**options: object) -> ReptileModule:
    return ReptileModule(Conv4(channels=4), outputs=3, **options).double()


def test_an_inner_step_takes_the_classes_in_turn():
    # 3 classes of 2 examples, class after class; an example is its own number.
    numbered = Examples(torch.arange(6).view(1, 6, 1), torch.arange(3).repeat_interleave(2).unsqueeze(0))
    draw = reptile(inner_batch_size=4).draw(numbered)
    assert [draw(step).x.flatten().tolist() for step in range(3)] == [[0, 2, 4, 1], [3, 5, 0, 2], [4, 1, 3, 5]]
    assert draw(0).y.tolist() == [[0, 1, 2, 0]]
    everything = reptile(inner_batch_size=10).draw(numbered)  # more than there are
    assert everything(1).x.flatten().tolist() == [0, 2, 4, 1, 3, 5]
    # Of a class there may be fewer, and there may be fewer classes than outputs.
    uneven = numbered._replace(y=torch.tensor([[0, 1, 1, 0, 1, 1]]))
    assert reptile(inner_batch_size=6).draw(uneven)(0).x.flatten().tolist() == [0, 1, 3, 2, 4, 5]


def put(values: list[Tensor], network: nn.Module) -> None:
    for parameter, value in zip(network.parameters(), values):
        parameter.data.copy_(value)


def by_torch(
    module: ReptileModule, optimizer: torch.optim.Optimizer, start: list[Tensor], tasks: Episode
) -> list[Tensor]:
    """The mean of the adapted weights by an optimiser of torch, task after task, its state going on."""
    network = module.network
    total = [torch.zeros_like(value) for value in start]
    for x, y in zip(*tasks.support):
        put(start, network)
        draw = module.draw(Examples(x.unsqueeze(0), y.unsqueeze(0)))
        for step in range(module.adaptation_steps):
            batch_x, batch_y = (part.squeeze(0) for part in draw(step))
            optimizer.zero_grad()
            module.loss(network(batch_x), batch_y).backward()
            optimizer.step()
        total = [one + value.detach() for one, value in zip(total, network.parameters())]
    put(start, network)
    return [value / len(tasks.query.y) for value in total]


@pytest.mark.parametrize("tasks", ["serial", "batched"])
def test_adams_moments_go_on_as_torchs_do(tasks):
    """Serial: over all tasks. Batched is the same where an outer step has one task."""
    count = 3 if tasks == "serial" else 1
    options = {"inner_batch_size": 6, "adaptation_steps": 3}
    module, twin = reptile(tasks=tasks, **options), reptile(**options)
    start = [parameter.detach().clone() for parameter in module.network.parameters()]
    adam = torch.optim.Adam(twin.network.parameters(), lr=1e-3, betas=(0.0, 0.999))
    for _ in range(2):  # the second meta-batch starts with the moments of the first
        meta_batch = image_tasks(count, shots=4)
        expected = by_torch(twin, adam, start, meta_batch)
        for ours, adapted, theta in zip(way_back(module, meta_batch), expected, start):
            # Adam brings every gradient to about one: rounding then counts beside the gradient, however small it is.
            torch.testing.assert_close(theta - ours, adapted, rtol=1e-9, atol=1e-12)


def test_the_mean_moments_of_a_meta_batch_are_kept():
    whole, modules = image_tasks(2, shots=4), [reptile(adaptation_steps=2) for _ in range(3)]
    for module in modules[1:]:
        module.load_state_dict(modules[0].state_dict())
    for module, part in zip(modules, [whole, *whole.chunks(1)]):
        way_back(module, part)
    for both, first, second in zip(*(module.inner_optimizer.moments for module in modules)):
        torch.testing.assert_close(both, (first + second) / 2)
    assert modules[0].inner_optimizer.count == 2


def test_several_devices_keep_the_mean_of_their_moments():
    module, alone = reptile(adaptation_steps=2), reptile(adaptation_steps=2)
    alone.load_state_dict(module.state_dict())

    def reduce(moment: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "mean"
        return moment / 2  # the other device's are zero

    module._trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(reduce=reduce))
    tasks = image_tasks()
    way_back(module, tasks), way_back(alone, tasks)
    for ours, theirs in zip(module.inner_optimizer.moments, alone.inner_optimizer.moments):
        torch.testing.assert_close(ours, theirs / 2)


def test_an_evaluation_starts_from_the_moments_of_training_and_leaves_them_alone():
    module, task = reptile(test_adaptation_steps=4), image_tasks(1)
    fresh = module.predict(task).outputs
    way_back(module, image_tasks())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first, again = (module.predict(task).outputs for _ in range(2))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(first, again)
    assert not torch.allclose(first, fresh, rtol=1e-3)  # the weights are the same, the moments are not


def test_the_count_of_steps_stays_a_whole_number_in_low_precision():
    module, (support, query, classes) = reptile(adaptation_steps=2).to(torch.bfloat16), image_tasks(1)
    low = Episode(*(Examples(part.x.bfloat16(), part.y) for part in (support, query)), classes)
    assert all(gradient.isfinite().all() for gradient in way_back(module, low))
    assert module.inner_optimizer.count.dtype == torch.long


def test_regression_needs_nothing_else():
    drawn = SinusoidDataModule(shots=7).dataset("train").__getitems__(range(3))
    module = ReptileModule(MLP(), outputs=1, loss="mse", inner_batch_size=5)
    some = module.draw(drawn.support)(1)
    assert torch.equal(some.x, drawn.support.x[:, [5, 6, 0, 1, 2]])
    assert torch.equal(some.y, drawn.support.y[:, [5, 6, 0, 1, 2]])
    assert module.predict(drawn).outputs.shape == (3, 10, 1)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("adaptation_steps", 0, "adaptation_steps must be at least 1, not 0"),
        ("inner_batch_size", 0, "inner_batch_size must be at least 1, not 0"),
        ("inner_lr", 0, "inner_lr must be positive, not 0"),
        ("meta_lr", 2, "0 to 1, not 2"),
    ],
)
def test_numbers_out_of_range_are_refused(option, value, message):
    with pytest.raises(FewShotError, match=message):
        ReptileModule(Conv4(), **{option: value})
