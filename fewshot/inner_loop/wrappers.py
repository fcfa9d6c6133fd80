"""learn2learn's wrappers. The only module that imports learn2learn: seconds, so not before a learner is wanted.

Arnold et al., 2020, learn2learn: A Library for Meta-Learning Research, https://arxiv.org/abs/2008.12284.
"""

from collections.abc import Sequence

import gym_notices.notices
import torch
from torch import Tensor, nn

from fewshot.errors import FewShotError
from fewshot.inner_loop.optimizers import InnerSGD

gym_notices.notices.notices.clear()  # learn2learn imports gym, which prints an upgrade notice with no filter to stop it

try:
    from learn2learn.algorithms import MAML, MetaSGD
    from learn2learn.algorithms.base_learner import BaseLearner
    from learn2learn.utils import clone_module, update_module
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("learn2learn"):
        raise
    raise FewShotError(
        "the sequential inner loop needs learn2learn, which is not installed: pip install --no-deps --use-pep517 "
        "--config-settings=--build-option=build_ext learn2learn==0.2.0"
    ) from None


class SelectiveMAML(MAML):
    """learn2learn's MAML that adapts the named weights alone, by the rates of each inner step."""

    def __init__(self, module: nn.Module, optimizer: InnerSGD, names: Sequence[str], step: int = 0) -> None:
        super().__init__(module, lr=optimizer.inner_lr)
        self.module: nn.Module
        self.optimizer = optimizer
        self.names = names
        self.step = step

    def adapt(self, loss: Tensor, first_order: bool = False) -> None:
        """Takes one gradient step on the loss, with this step's rates, and moves on to the next."""
        own = dict(self.module.named_parameters())
        parameters = [own[name] for name in self.names]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=not first_order, create_graph=not first_order)
        for parameter, rate, gradient in zip(parameters, self.optimizer.at(self.step), gradients):
            parameter.update = -rate * gradient  # type: ignore[attr-defined]  # where update_module looks
        self.module = update_module(self.module)
        self.step += 1

    def clone(self) -> "SelectiveMAML":
        """A copy whose weights can be adapted while gradients still reach the originals."""
        return SelectiveMAML(clone_module(self.module), self.optimizer, self.names, self.step)


def wrap(module: nn.Module, optimizer: InnerSGD, names: Sequence[str]) -> BaseLearner:
    """Wraps a module in the learner that adapts the named weights. The wrapper holds no weights of its own."""
    if optimizer.learn == "per-step" or len(names) < len(list(module.parameters())):
        return SelectiveMAML(module, optimizer, names)
    if optimizer.learn == "meta-sgd":
        return MetaSGD(module, lrs=optimizer.rates)
    return MAML(module, lr=optimizer.inner_lr)
