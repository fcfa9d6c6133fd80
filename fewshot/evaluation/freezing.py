"""What an adaptation needs: parts of a network frozen while it is tested, or no head at all."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms import AdaptingModule
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.inner_loop import VectorizedInnerLoop
from fewshot.inner_loop.vectorized import over_tasks
from fewshot.networks import Classifier

HEAD, NOTHING = "head", "nothing"

Blocks = Mapping[str, Sequence[str]]
"""Names of parameters by what they are part of: ``block 1``, ``block 2``, ..., ``head``."""


def blocks(network: Classifier) -> dict[str, list[str]]:
    """The parts of a network in order: parameters whose names have the same first number are one block.

    Of Conv4, ``features.convolutions.0.weight`` and ``features.norms.0.bias`` are of block 1.

    Raises:
        FewShotError: If the body has parameters without a number.
    """
    found: dict[int, list[str]] = {}
    for name, _ in network.features.named_parameters(prefix="features"):
        numbers = [int(word) for word in name.split(".") if word.isdigit()]
        if not numbers:
            raise FewShotError(
                f"{name} is of no block: its name has no number, as those of Conv4's, ResNet12's and MLP's weights have"
            )
        found.setdefault(numbers[0], []).append(name)
    parts = {f"block {place}": found[number] for place, number in enumerate(sorted(found), start=1)}
    return {**parts, HEAD: [name for name, _ in network.head.named_parameters(prefix=HEAD)]}


def up_to(last: int) -> str:
    """What to call the first so many blocks."""
    return f"blocks 1 to {last}" if last > 1 else "block 1"


def frozen_parts(parts: Blocks, adapted: Sequence[str]) -> dict[str, list[str]]:
    """What to freeze, and the names of the weights that adapt all the same.

    Raghu, Raghu, Bengio and Vinyals, 2020, Rapid Learning or Feature Reuse?, https://arxiv.org/abs/1909.09157, section
    3.1, freeze ever more blocks from the first on; the head alone is frozen beside.

    Args:
        parts: The network's.
        adapted: The weights that the learner adapts.

    Returns:
        ``nothing``, ``block 1``, ``blocks 1 to 2``, ..., ``head``; none where nothing would be frozen that adapts, or
        nothing would be left.
    """
    body = [part for part in parts if part != HEAD]
    frozen = {up_to(last): set().union(*(parts[part] for part in body[:last])) for last in range(1, len(body) + 1)}
    frozen[HEAD] = set(parts[HEAD])
    left = {name: [weight for weight in adapted if weight not in gone] for name, gone in frozen.items()}
    return {NOTHING: list(adapted), **{name: some for name, some in left.items() if 0 < len(some) < len(adapted)}}


def partial_loop(module: AdaptingModule, names: Sequence[str]) -> VectorizedInnerLoop:
    """The inner loop of a test in which these weights alone adapt, each at the rate that it has learned."""
    optimizer = (module.test_inner_loop or module.inner_loop).optimizer
    return VectorizedInnerLoop(module.network, optimizer, module.loss, adapt=list(names), batch_norm=module.batch_norm)


def nil(module: AdaptingModule, episode: Episode) -> Tensor:
    """Classifies by the body alone, without head and without adaptation: NIL, no inner loop.

    Raghu et al., 2020, section 5: a query's similarities to the support examples weigh their labels.

    Returns:
        The sum of the cosine similarities to each class's support examples, ``[T, N*Q, N]``.
    """
    body, loop = module.network.features, module.inner_loop
    with torch.no_grad():
        embed = over_tasks(lambda support, x: loop.predict(None, body, support, x))
        supports, queries = (
            F.normalize(embed(episode.support.x, part.x), dim=-1) for part in (episode.support, episode.query)
        )
        members = F.one_hot(episode.support.y, module.outputs).to(queries.dtype)  # [T, N*K, N]
        return queries @ supports.transpose(1, 2) @ members
