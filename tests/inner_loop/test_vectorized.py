"""What the loop over all tasks at once keeps and what it does not: graphs, memory, randomness; and chunks of tasks."""

import os
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import close, conv4, image_tasks, outer_gradients
from torch import Tensor

from fewshot.algorithms import MAMLModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4, Embedding


def maml(network: Embedding | None = None, **options: object) -> MAMLModule:
    return MAMLModule(network or conv4(), outputs=3, inner_lr=0.3, **options).double()


@pytest.mark.parametrize("learn", ["none", "meta-sgd"])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_chunks_of_tasks_give_the_gradients_of_the_whole(learn, chunk):
    module, episode = maml(learn_inner_lr=learn), image_tasks(tasks=5)
    expected, whole, predicted = outer_gradients(module, episode), module.outer_loss(episode), module.predict(episode)
    module.task_chunk_size = chunk
    for name, gradient in outer_gradients(module, episode).items():
        close(gradient, expected[name])
    for ours, theirs in zip(module.outer_loss(episode), whole):
        close(ours.detach(), theirs.detach())
    for ours, theirs in zip(module.predict(episode), predicted):
        close(ours, theirs)


def saved_tensors(module: MAMLModule, episode: Episode, graph: str, steps: int) -> int:
    """How many tensors an adaptation holds on to, for a backward pass through it."""
    living: weakref.WeakSet[object] = weakref.WeakSet()

    class Box:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            living.add(self)

    with torch.autograd.graph.saved_tensors_hooks(Box, lambda box: box.tensor):
        *_, learners = module.inner_loop.adapt(episode.support, steps, graph=graph)
    assert learners is not None
    return len(living)


def test_only_the_second_order_keeps_a_graph_of_the_steps():
    module, episode = maml(), image_tasks()
    assert saved_tensors(module, episode, "none", steps=5) == 0
    assert saved_tensors(module, episode, "first", steps=5) == saved_tensors(module, episode, "first", steps=1)
    assert saved_tensors(module, episode, "second", steps=5) > 4 * saved_tensors(module, episode, "second", steps=1)


def test_memory_is_flat_over_many_steps():
    module, episode = maml(Conv4(channels=8)), image_tasks(tasks=3)
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        module.outer_loss(episode).loss.backward()
        optimizer.step()

    def held() -> int:
        """Bytes of memory in use, of files apart."""
        resident, shared = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(30):
        step()
    before = held()
    for _ in range(50):
        step()
    # Leaking a step's graph would cost 50 times some 200 kB.
    assert held() - before < 1e6


def test_dropout_differs_from_task_to_task():
    class Dropping(Embedding):
        out_features = 289

        def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
            return F.dropout(x.flatten(1), 0.5, training=True)

    module, episode = maml(Dropping()), image_tasks(tasks=2)
    same = Episode(*(Examples(part.x[:1].expand_as(part.x), part.y) for part in episode[:2]))
    (learners,) = module.inner_loop.adapt(same.support, 0, graph="none")
    first, second = learners(same.query.x)
    assert not torch.equal(first, second)
