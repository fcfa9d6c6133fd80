"""What the contestants in PyTorch share."""

import copy
from typing import Any

from torch import nn


class TorchPeer:
    """A contestant whose module holds all that is learned.

    Args:
        module: That module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def state(self) -> Any:
        """A copy of the weights, and of batch norm's statistics."""
        return copy.deepcopy(self.module.state_dict())

    def restore(self, state: Any) -> None:
        """Goes back to them."""
        self.module.load_state_dict(state)
