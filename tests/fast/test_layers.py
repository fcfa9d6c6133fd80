"""The layers with written-out derivatives: those of autograd and of finite differences, with and without tasks."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, vmap

from fewshot.fast.layers import BatchNorm, Conv2d


def convolution() -> tuple[nn.Module, nn.Module]:
    theirs = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False)
    return Conv2d(2, 3, kernel_size=3, stride=2, padding=1), theirs


def normalization() -> tuple[nn.Module, nn.Module]:
    return BatchNorm(2, track_running_stats=False), nn.BatchNorm2d(2, track_running_stats=False)


def over_tasks(layer: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    return vmap(lambda w, task: functional_call(layer, w, (task,)))(weights, x)


LAYERS = pytest.mark.parametrize("make", [convolution, normalization])
WEIGHTS = pytest.mark.parametrize("own_weights", [True, False], ids=["own", "shared"])


@LAYERS
def test_without_tasks_it_is_torchs_own_layer(make):
    ours, theirs = make()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 2, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))


@LAYERS
@WEIGHTS
def test_the_tasks_do_not_mix(make, own_weights):
    layer, _ = make()
    tasks, x = 4, torch.randn(4, 3, 2, 5, 5)
    weights = {
        name: torch.randn(tasks, *weight.shape) if own_weights else weight.expand(tasks, *weight.shape)
        for name, weight in layer.named_parameters()
    }
    alone = [functional_call(layer, {n: w[t] for n, w in weights.items()}, (x[t],)) for t in range(tasks)]
    torch.testing.assert_close(over_tasks(layer, weights, x), torch.stack(alone))


@LAYERS
@WEIGHTS
def test_first_and_second_derivatives_agree_with_finite_differences(make, own_weights):
    layer = make()[0].double()
    names = [name for name, _ in layer.named_parameters()]
    leaves = [
        torch.randn_like(weight).repeat(3 if own_weights else 1, *[1] * weight.ndim) for weight in layer.parameters()
    ]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        return over_tasks(layer, {n: w.expand(3, *w.shape[1:]) for n, w in zip(names, weights)}, x)

    inputs = [leaf.requires_grad_() for leaf in [torch.randn(3, 2, 2, 3, 3).double(), *leaves]]
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


def test_weights_of_a_convolution_can_be_shared_without_saying_so():
    layer, x = Conv2d(2, 3, 3, 2, 1), torch.randn(4, 3, 2, 5, 5)
    torch.testing.assert_close(vmap(layer)(x), layer(x.flatten(0, 1)).unflatten(0, (4, 3)))


def test_under_bf16_autocast_activations_stay_in_bf16_and_weights_do_not():
    convolution, norm, x = Conv2d(2, 3, 3, 2, 1), BatchNorm(3, track_running_stats=False), torch.randn(4, 2, 5, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        convolved = convolution(x)
        assert (convolved.dtype, norm(convolved).dtype) == (torch.bfloat16, torch.bfloat16)
        (gradient,) = torch.autograd.grad(norm(convolved).square().sum(), convolution.weight, create_graph=True)
        gradient.square().sum().backward()
    assert convolution.weight.grad.dtype == torch.float32
