"""Gradients handed over as a loss: the mean over all tasks, by hand and by autograd."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot.algorithms.gradients import Gradient, Method, as_loss


def test_parts_of_unequal_numbers_of_tasks_count_by_their_tasks():
    weight, bias = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor(5.0, requires_grad=True)
    parts = [
        Gradient(torch.tensor(4.0), torch.tensor([[0.0], [1.0], [2.0]]), [torch.tensor([8.0, 0.0]), torch.tensor(4.0)]),
        Gradient(torch.tensor(8.0), torch.tensor([[3.0]]), [torch.tensor([0.0, 4.0]), torch.tensor(-4.0)]),
    ]
    loss, outputs = as_loss(parts, [weight, bias], tasks=4)
    assert loss.item() == 3 / 4 * 4 + 1 / 4 * 8
    assert outputs.flatten().tolist() == [0, 1, 2, 3]
    loss.backward()
    assert weight.grad.tolist() == [6, 1]
    assert bias.grad.item() == 2


def test_what_is_done_to_the_loss_is_done_to_the_gradient():
    """As a gradient scaler or Lightning's accumulation over batches does."""
    weight = torch.tensor(1.0, requires_grad=True)
    loss, _ = as_loss([Gradient(torch.tensor(3.0), torch.zeros(1, 1), [torch.tensor(2.0)])], [weight], tasks=1)
    (loss / 4 + 10).backward()
    assert weight.grad.item() == 0.5


def test_the_gradient_of_a_part_may_go_once_it_is_counted():
    """A part is worked out when its turn comes: there is memory for one of them."""
    weight, done = torch.zeros(1, requires_grad=True), []

    def parts():
        for part in range(3):
            done.append(part)
            gradient = torch.ones(1)
            yield Gradient(torch.tensor(0.0), torch.zeros(1, 1), [gradient])
            gradient.fill_(torch.nan)

    as_loss(parts(), [weight], tasks=3).loss.backward()
    assert done == [0, 1, 2]
    assert weight.grad.item() == 1


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_chunks_of_any_sizes_have_the_gradient_of_the_whole(sizes, seed):
    torch.manual_seed(seed)
    weight = torch.randn(3, dtype=torch.float64, requires_grad=True)
    tasks = torch.randn(sum(sizes), 3, dtype=torch.float64)

    def mean(chunk: Tensor) -> Tensor:
        return (chunk @ weight).exp().mean()

    (whole,) = torch.autograd.grad(mean(tasks), weight)
    parts = [Gradient(mean(c).detach(), c, list(torch.autograd.grad(mean(c), weight))) for c in tasks.split(sizes)]
    loss, outputs = as_loss(parts, [weight], len(tasks))
    torch.testing.assert_close(loss, mean(tasks))
    torch.testing.assert_close(torch.autograd.grad(loss, weight)[0], whole)
    assert torch.equal(outputs, tasks)


def test_a_method_runs_with_other_parameters_and_leaves_its_own():
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(2.0))

        def at(self, x: Tensor) -> Tensor:
            return self.slope * x

    line, other = Line(), torch.tensor(5.0, requires_grad=True)
    result = Method(line, "at").at({"slope": other}, torch.tensor(3.0))
    assert result.item() == 15
    assert torch.autograd.grad(result, other)[0].item() == 3
    assert line.at(torch.tensor(3.0)).item() == 6
