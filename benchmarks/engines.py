"""One function per engine: from a work to a function that takes the outer step.

A step returns its loss and the norm of its outer gradient, by which the engines are held to the same work. It ends when
the gradients of all initial weights are there; the optimiser is left out, as it is the same for all. The libraries are
used as their own examples of MAML use them.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from benchmarks.floor import products
from benchmarks.work import INNER_LR, Work, plain_network, tensors

if TYPE_CHECKING:
    from fewshot.algorithms import MAMLModule
    from fewshot.episodes import Episode

QUERIES = 5  # per class, of prototypical networks

Step = Callable[[], tuple[float, float]]


def outcome(loss: float, module: torch.nn.Module) -> tuple[float, float]:
    """The loss, and the norm of all gradients."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return loss, torch.nn.utils.get_total_norm(gradients).item()


def learner(work: Work, **options: Any) -> "tuple[MAMLModule, Episode]":
    """MAMLModule from the weights that the peers get, and its meta-batch."""
    from fewshot.algorithms import MAMLModule
    from fewshot.episodes import Episode, Examples
    from fewshot.networks import Conv4

    module = MAMLModule(
        Conv4(),
        outputs=work.ways,
        inner_lr=INNER_LR,
        adaptation_steps=work.steps,
        first_order=work.first_order,
        **options,
    )
    own = dict(module.network.named_parameters())
    kinds = [f"features.{kind}.{i}" for i in range(4) for kind in ("convolutions", "norms")]
    names = [name for part in [*kinds, "head"] for name in own if name.startswith(part)]
    for name, parameter in zip(names, plain_network(work.ways).parameters(), strict=True):
        own[name].data.copy_(parameter.data)
    x, y, query_x, query_y = tensors(work)
    return module.to(x.device), Episode(Examples(x, y), Examples(query_x, query_y))


def fewshot(work: Work, bf16: bool = False, **options: Any) -> Step:
    """MAMLModule, as the command line uses it."""
    module, episode = learner(work, **options)

    def step() -> tuple[float, float]:
        module.zero_grad()
        with torch.autocast(episode.query.x.device.type, torch.bfloat16, enabled=bf16):
            loss, _ = module.outer_loss(episode)
        loss.backward()
        return outcome(loss.item(), module)

    return step


def recorded(work: Work) -> Step:
    """Fewshot, tasks side by side, recorded and replayed."""
    return fewshot(work, record=True)


def bf16(work: Work) -> Step:
    """The same under bf16-mixed."""
    return fewshot(work, bf16=True, record=True)


def vectorized(work: Work) -> Step:
    """Fewshot, tasks side by side."""
    return fewshot(work)


def sequential(work: Work) -> Step:
    """Fewshot, task after task."""
    return fewshot(work, inner_loop="sequential")


def floor(work: Work) -> Step:
    """The convolutions and matrix products of ``recorded``, and nothing else."""
    module, episode = learner(work, record=True)
    assert module.recording is not None
    parameters, parts = [parameter.detach() for parameter in module.parameters()], []
    for chunk in module.chunks(episode):
        inputs = [*chunk.support, *chunk.query]
        parts.append(products(module.recording.program(parameters, inputs, module.order), parameters, inputs))

    def step() -> tuple[float, float]:
        for part in parts:
            part()
        return math.nan, math.nan

    return step


def learn2learn(work: Work) -> Step:
    """learn2learn's clone() and adapt(), as in its examples/vision/maml_omniglot.py."""
    import gym_notices.notices

    gym_notices.notices.notices.clear()
    from learn2learn.algorithms import MAML

    learner = MAML(plain_network(work.ways), lr=INNER_LR, first_order=work.first_order)
    data = tensors(work)

    def step() -> tuple[float, float]:
        learner.zero_grad()
        total = 0.0
        for x, y, query_x, query_y in zip(*data):
            clone = learner.clone()
            for _ in range(work.steps):
                clone.adapt(F.cross_entropy(clone(x), y))
            loss = F.cross_entropy(clone(query_x), query_y) / work.tasks
            loss.backward()
            total += loss.item()
        return outcome(total, learner)

    return step


def higher(work: Work) -> Step:
    """Higher's innerloop_ctx(), as in its examples/maml-omniglot.py, which has no first-order MAML."""
    import higher as library

    network, data = plain_network(work.ways), tensors(work)
    optimizer = torch.optim.SGD(network.parameters(), lr=INNER_LR)

    def step() -> tuple[float, float]:
        network.zero_grad()
        total = 0.0
        for x, y, query_x, query_y in zip(*data):
            with library.innerloop_ctx(network, optimizer, copy_initial_weights=False) as (learner, inner):
                for _ in range(work.steps):
                    inner.step(F.cross_entropy(learner(x), y))
                loss = F.cross_entropy(learner(query_x), query_y) / work.tasks
                loss.backward()
                total += loss.item()
        return outcome(total, network)

    return step


def torchopt(work: Work) -> Step:
    """TorchOpt's MetaSGD, as in its examples/few-shot/maml_omniglot.py, which has no first-order MAML."""
    import torchopt as library

    network, data = plain_network(work.ways), tensors(work)
    inner = library.MetaSGD(network, lr=INNER_LR)

    def step() -> tuple[float, float]:
        network.zero_grad()
        start = library.extract_state_dict(network, by="reference"), library.extract_state_dict(inner, by="reference")
        total = 0.0
        for x, y, query_x, query_y in zip(*data):
            for _ in range(work.steps):
                inner.step(F.cross_entropy(network(x), y))
            loss = F.cross_entropy(network(query_x), query_y) / work.tasks
            loss.backward()
            library.recover_state_dict(network, start[0])
            library.recover_state_dict(inner, start[1])
            total += loss.item()
        return outcome(total, network)

    return step


def jax(work: Work) -> Step:
    """JAX's jit(value_and_grad(vmap())); see ``benchmarks/in_jax.py``."""
    import jax as library
    import jax.numpy as jnp

    from benchmarks import in_jax

    weights, data = in_jax.initial(work.ways), [in_jax.array(array) for array in work.data()]
    outer = partial(in_jax.outer_loss, steps=work.steps, lr=INNER_LR, first_order=work.first_order)

    @library.jit
    def gradient(weights: dict, *data: library.Array) -> tuple[library.Array, dict, library.Array]:
        loss, gradients = library.value_and_grad(outer)(weights, *data)
        return loss, gradients, jnp.sqrt(sum(jnp.sum(part**2) for part in library.tree.leaves(gradients)))

    def step() -> tuple[float, float]:
        loss, _, norm = library.block_until_ready(gradient(weights, *data))
        return loss.item(), norm.item()

    return step


def protonet(work: Work) -> Step:
    """Fewshot's ProtoNetModule on one episode, with the pooling Conv4."""
    from fewshot.algorithms import ProtoNetModule
    from fewshot.episodes import Episode, Examples
    from fewshot.networks import Conv4

    module = ProtoNetModule(Conv4(downsample="pool", running_statistics=True))  # made on the default device
    episode = Episode(Examples(*_episode(work.ways, work.shots)), Examples(*_episode(work.ways, QUERIES)))

    def step() -> tuple[float, float]:
        module.zero_grad()
        loss, _ = module.outer_loss(episode)
        loss.backward()
        return outcome(loss.item(), module)

    return step


def easyfsl(work: Work) -> Step:
    """Easyfsl's PrototypicalNetworks on the same episode."""
    from easyfsl.methods import PrototypicalNetworks

    network = PrototypicalNetworks(pooling_conv4())
    (support, query) = (_episode(work.ways, count) for count in (work.shots, QUERIES))

    def step() -> tuple[float, float]:
        network.zero_grad()
        network.process_support_set(support[0][0], support[1][0])
        loss = F.cross_entropy(network(query[0][0]), query[1][0])
        loss.backward()
        return outcome(loss.item(), network)

    return step


def pooling_conv4() -> torch.nn.Sequential:
    """The network that easyfsl gets: that of Snell et al., in torch's own layers."""
    layers: list[torch.nn.Module] = []
    for channels in (1, 64, 64, 64):
        layers += [
            torch.nn.Conv2d(channels, 64, 3, 1, 1, bias=False),
            torch.nn.BatchNorm2d(64),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        ]
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


def _episode(ways: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator("cpu").manual_seed(count)
    images = (torch.rand(1, ways * count, 1, 28, 28, generator=generator, device="cpu") < 0.1).float()
    device = torch.get_default_device()
    return images.to(device), torch.arange(ways, device=device).repeat(count).unsqueeze(0)
