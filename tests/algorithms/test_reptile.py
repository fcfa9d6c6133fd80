"""Reptile against hand-computed updates, and against torch's own Adam run task after task."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from fewshot.algorithms import ReptileModule
from fewshot.data import SinusoidDataModule
from fewshot.episodes import Episode, Examples, ImageEpisodes
from fewshot.errors import FewShotError
from fewshot.networks import MLP, Conv4, Embedding

A, W, B = 0.1, 0.5, 0.25  # inner rate and start, chosen freely


class Scalar(Embedding):
    """Passes a number through: the head on top is the linear model w x + b."""

    out_features = 1

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x


def linear_model(**options: object) -> ReptileModule:
    module = ReptileModule(
        Scalar(), outputs=1, loss="mse", inner_optimizer="sgd", inner_lr=A, adaptation_steps=2, **options
    ).double()
    module.network.head.weight.data.fill_(W), module.network.head.bias.data.fill_(B)
    return module


def points(*tasks: tuple[float, float]) -> Episode:
    """A support point (x, y) for each task; it serves as query, too."""
    x, y = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in zip(*tasks))
    return Episode(Examples(x, y), Examples(x, y))


def two_steps(x: float, y: float) -> tuple[float, float]:
    """Gradient descent on (w x + b - y)^2, written out."""
    w, b = W, B
    for _ in range(2):
        slope = 2 * (w * x + b - y)
        w, b = w - A * slope * x, b - A * slope
    return w, b


def way_back(module: ReptileModule, episode: Episode) -> list[Tensor]:
    """What is left in the gradients: θ minus the mean of the adapted weights."""
    module.zero_grad()
    module.outer_loss(episode)[0].backward()
    return [parameter.grad for parameter in module.network.parameters()]


def test_the_gradient_is_the_way_back_from_the_mean_of_the_adapted_weights():
    tasks = (2.0, 3.0), (-1.0, 1.0)
    (w1, b1), (w2, b2) = (two_steps(*task) for task in tasks)
    dw, db = way_back(linear_model(), points(*tasks))
    assert dw.item() == pytest.approx(W - (w1 + w2) / 2)
    assert db.item() == pytest.approx(B - (b1 + b2) / 2)


def test_an_outer_step_goes_a_share_of_the_way():
    module = linear_model(meta_lr=0.25, lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1))
    optimizer = module.configure_optimizers()["optimizer"]
    module.outer_loss(points((2.0, 3.0)))[0].backward()
    optimizer.step()
    w, b = two_steps(2.0, 3.0)
    assert module.network.head.weight.item() == pytest.approx(0.75 * W + 0.25 * w)
    assert module.network.head.bias.item() == pytest.approx(0.75 * B + 0.25 * b)


def test_an_inner_step_takes_the_classes_in_turn():
    module = ReptileModule(Conv4(channels=4), outputs=3, inner_batch_size=4)
    labels = torch.arange(3).repeat_interleave(2).unsqueeze(0)  # 3 classes of 2 examples, class after class
    rows = module.minibatches(Examples(torch.zeros(1, 6, 1), labels))
    assert [rows(step).tolist() for step in range(3)] == [[0, 2, 4, 1], [3, 5, 0, 2], [4, 1, 3, 5]]
    module = ReptileModule(Conv4(channels=4), outputs=3, inner_batch_size=10)  # more than there are
    assert module.minibatches(Examples(torch.zeros(1, 6, 1), labels))(1).tolist() == [0, 2, 4, 1, 3, 5]


def episode(tasks: int) -> Episode:
    images = torch.randint(256, (9, 8, 16, 16), dtype=torch.uint8)
    drawn = ImageEpisodes(images, split="train", ways=3, shots=4, queries=2, length=tasks).__getitems__(range(tasks))
    return Episode(*(Examples(part.x.double() / 255, part.y) for part in drawn[:2]))


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
        rows = module.minibatches(tasks.support)
        for step in range(module.adaptation_steps):
            optimizer.zero_grad()
            module.loss(network(x[rows(step)]), y[rows(step)]).backward()
            optimizer.step()
        total = [one + value.detach() for one, value in zip(total, network.parameters())]
    put(start, network)
    return [value / len(tasks.query.y) for value in total]


@pytest.mark.parametrize("tasks", ["serial", "batched"])
def test_adams_moments_go_on_as_torchs_do(tasks):
    """Serial: over all tasks. Batched is the same where an outer step has one task."""
    count = 3 if tasks == "serial" else 1
    module = ReptileModule(Conv4(channels=4), outputs=3, inner_batch_size=6, adaptation_steps=3, tasks=tasks).double()
    start = [parameter.detach().clone() for parameter in module.network.parameters()]
    twin = ReptileModule(Conv4(channels=4), outputs=3, inner_batch_size=6, adaptation_steps=3).double()
    adam = torch.optim.Adam(twin.network.parameters(), lr=1e-3, betas=(0.0, 0.999))
    for meta_batch in (episode(count), episode(count)):  # the second meta-batch starts with the moments of the first
        expected = by_torch(twin, adam, start, meta_batch)
        for ours, adapted, theta in zip(way_back(module, meta_batch), expected, start):
            torch.testing.assert_close(theta - ours, adapted, rtol=1e-9, atol=1e-12)


def test_the_mean_moments_of_a_meta_batch_are_kept():
    whole = episode(2)
    modules = [ReptileModule(Conv4(channels=4), outputs=3, adaptation_steps=2).double() for _ in range(3)]
    for module in modules[1:]:
        module.load_state_dict(modules[0].state_dict())
    for module, part in zip(modules, [whole, *whole.split(1)]):
        way_back(module, part)
    for both, first, second in zip(*(module.inner_optimizer.moments for module in modules)):
        torch.testing.assert_close(both, (first + second) / 2)
    assert modules[0].inner_optimizer.count == 2


def test_an_evaluation_starts_from_the_moments_of_training_and_leaves_them_alone():
    module, task = ReptileModule(Conv4(channels=4), outputs=3, test_adaptation_steps=4).double(), episode(1)
    fresh = module.evaluate(task).outputs
    way_back(module, episode(2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first, again = (module.evaluate(task).outputs for _ in range(2))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(first, again)
    assert not torch.allclose(first, fresh, rtol=1e-3)  # the weights are the same, the moments are not


def test_regression_needs_nothing_else():
    data = SinusoidDataModule(shots=7, meta_batch_size=3)
    module = ReptileModule(MLP(), outputs=1, loss="mse", inner_batch_size=5)
    drawn = data.dataset("train").__getitems__(range(3))
    assert module.minibatches(drawn.support)(1).tolist() == [5, 6, 0, 1, 2]
    assert module.evaluate(drawn).outputs.shape == (3, 10, 1)


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


def test_the_step_size_goes_to_nothing_over_the_training():
    module = linear_model(meta_lr=0.5)
    module._trainer = SimpleNamespace(max_steps=4)
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.375, 0.25, 0.125, 0.0])
    module._trainer = SimpleNamespace(max_steps=-1)
    with pytest.raises(FewShotError, match="set max_steps"):
        module.configure_optimizers()


def test_the_number_of_steps_stays_a_number_in_low_precision():
    module = ReptileModule(Conv4(channels=4), outputs=3, adaptation_steps=2).to(torch.bfloat16)
    drawn = Episode(*(Examples(part.x.bfloat16(), part.y) for part in episode(1)[:2]))
    assert all(gradient.isfinite().all() for gradient in way_back(module, drawn))
    assert module.inner_optimizer.count.dtype == torch.long
