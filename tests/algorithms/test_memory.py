"""What the learners are for that keep no path of inner steps: their memory does not grow with the number of steps."""

import weakref
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fewshot.algorithms import IMAMLModule, MAMLModule, ReptileModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4


class Peak(TorchDispatchMode):
    """Most bytes of new tensors that are alive at once: autograd's, and the weights on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in self.known:
                self.count(result)
        return results

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        self.known[place] = size
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, place)

    def forget(self, place: int) -> None:
        self.now -= self.known.pop(place)


@pytest.mark.parametrize(
    ("learner", "flat"),
    [(IMAMLModule, True), (ReptileModule, True), (partial(MAMLModule, first_order=True), True), (MAMLModule, False)],
    ids=["imaml", "reptile", "fomaml", "maml"],
)
def test_memory_does_not_depend_on_the_number_of_inner_steps(learner, flat):
    def peak(steps: int) -> int:
        module = learner(Conv4(channels=16), outputs=3, adaptation_steps=steps)
        x, y = torch.rand(2, 3, 1, 16, 16), torch.arange(3).expand(2, 3)
        with Peak() as watch:
            module.outer_loss(Episode(Examples(x, y), Examples(x, y))).loss.backward()
        return watch.most

    four, twelve = peak(4), peak(12)
    assert twelve < 1.1 * four if flat else twelve > 2 * four
