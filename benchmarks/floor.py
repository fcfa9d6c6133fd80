"""What the convolutions and matrix products of an outer step take alone: the least that an engine can take.

They are those of fewshot's own recording, with the same numbers in the same layout, forwards and in all derivatives
that its order needs, one after another: what is left out are batch norm, ReLU, losses and the inner update.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Interpreter, Node

PRODUCTS = ("aten.convolution", "aten.mm", "aten.bmm", "aten.addmm", "aten.baddbmm")


class Products(Interpreter):
    """Runs a recording and keeps the calls of its convolutions and matrix products, with their arguments."""

    def __init__(self, program: torch.fx.GraphModule) -> None:
        super().__init__(program)
        self.calls: list[Callable[[], Any]] = []

    def run_node(self, node: Node) -> Any:
        """Runs one operation, and keeps it if it is a product."""
        if node.op == "call_function" and str(node.target).startswith(PRODUCTS):
            args, kwargs = self.fetch_args_kwargs_from_env(node)
            self.calls.append(lambda: node.target(*args, **kwargs))  # type: ignore[operator]
        return super().run_node(node)


def products(program: torch.fx.GraphModule, *inputs: list[torch.Tensor]) -> Callable[[], None]:
    """The products of a recording, as a function that does them again."""
    interpreter = Products(program)

    def run() -> None:
        with torch.no_grad():
            for call in interpreter.calls:
                call()

    with torch.no_grad():
        interpreter.run(*inputs)
    return run
