"""Gradients as a list of tensor operations, recorded once and replayed."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from fewshot.episodes import Episode


class Outer(NamedTuple):
    """What an outer step needs of some tasks.

    Attributes:
        loss: The outer loss.
        logits: Those of the queries, ``[T, N*Q, N]``.
        gradients: Of the loss, in every parameter.
    """

    loss: Tensor
    logits: Tensor
    gradients: list[Tensor]


class Recorded:
    """A function of parameters and an episode that records its operations on its first call and replays them later.

    What is left out is the work of Python, ``vmap`` and autograd. A replay gives memory back as soon as it is not
    needed; the recording holds on to every intermediate result, once. The function must do the same operations whatever
    the numbers are: a condition on a tensor's value is decided while recording, and so are the options of the learner.
    Another shape, data type, device or precision is recorded anew.
    """

    def __init__(self, function: Callable[[list[Tensor], Episode], Outer]) -> None:
        self.function = function
        self.programs: dict[Any, Callable[..., Any]] = {}

    def __call__(self, parameters: list[Tensor], episode: Episode) -> Outer:
        """Records where needed, and runs."""
        parameters = [parameter.detach() for parameter in parameters]
        tensors, structure = pytree.tree_flatten(episode)
        device = tensors[0].device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = precision, *((t.shape, t.stride(), t.dtype, t.device) for t in [*parameters, *tensors])
        if key not in self.programs:
            start = time.perf_counter()
            self.programs[key] = self._record(parameters, tensors, structure)
            seconds = time.perf_counter() - start
            rank_zero_info(
                f"Recorded the outer step of {len(episode.query.y)} tasks, once for all, in {seconds:.1f} s."
            )
        with torch.no_grad(), torch.autocast(device, enabled=False):  # both are in the recording
            loss, logits, *gradients = self.programs[key](parameters, tensors)
        return Outer(loss, logits, gradients)

    def _record(self, parameters: list[Tensor], tensors: list[Tensor], structure: Any) -> Callable[..., Any]:
        def flat(parameters: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
            loss, logits, gradients = self.function(parameters, pytree.tree_unflatten(tensors, structure))
            return [loss, logits, *gradients]

        program = make_fx(flat)(parameters, tensors)
        program.graph.eliminate_dead_code()
        program.recompile()
        return program
