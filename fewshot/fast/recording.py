"""Gradients as a list of tensor operations, recorded once and replayed."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

TensorFunction = Callable[[list[Tensor], list[Tensor]], list[Tensor]]
"""From parameters and inputs to results."""


class Recording:
    """A function of parameters and tensors that records its operations on its first call and replays them later.

    What is left out is the work of Python, ``vmap`` and autograd. A replay gives memory back as soon as it is not
    needed; the recording holds on to every intermediate result, once. The function must do the same operations whatever
    the numbers are: a condition on a tensor's value is decided while recording, and so are the options of the learner.
    Another shape, data type, device or precision is recorded anew.
    """

    def __init__(self, function: TensorFunction) -> None:
        self.function = function
        self.programs: dict[Any, GraphModule] = {}

    def __call__(self, parameters: Sequence[Tensor], inputs: Sequence[Tensor], variant: Hashable) -> list[Tensor]:
        """Records where needed, and runs.

        Args:
            parameters: Of the learner.
            inputs: The examples first.
            variant: Options of the learner that may change: another one is recorded anew, too.
        """
        parameters = [parameter.detach() for parameter in parameters]
        program = self.program(parameters, inputs, variant)
        with torch.no_grad(), torch.autocast(inputs[0].device.type, enabled=False):  # both are in the recording
            return program(parameters, list(inputs))

    def program(self, parameters: Sequence[Tensor], inputs: Sequence[Tensor], variant: Hashable) -> GraphModule:
        """The operations for inputs like these, recorded where needed; see :meth:`__call__`."""
        device = inputs[0].device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = variant, precision, *((t.shape, t.stride(), t.dtype, t.device) for t in [*parameters, *inputs])
        if key not in self.programs:
            start = time.perf_counter()
            self.programs[key] = self._record(parameters, inputs)
            seconds = time.perf_counter() - start
            rank_zero_info(f"Recorded the outer step of {len(inputs[0])} tasks, once for all, in {seconds:.1f} s.")
        return self.programs[key]

    def _record(self, parameters: Sequence[Tensor], inputs: Sequence[Tensor]) -> GraphModule:
        program = make_fx(self.function)(list(parameters), list(inputs))
        program.graph.eliminate_dead_code()
        program.recompile()
        return program
