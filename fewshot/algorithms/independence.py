"""Whether a learner judges each query on its own: tried out, not believed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite

import torch
from torch import nn

from fewshot.episodes import Episode, Prediction
from fewshot.networks import norms_of

ROUNDING = 1e-3
"""How far an output may move, relative to the largest, and count as unmoved: a device adds in another order."""


def moved_by_other_queries(predict: Callable[[Episode], Prediction], episode: Episode) -> float | None:
    """How far the outputs for some queries move when the other queries are replaced.

    Args:
        predict: The learner's.
        episode: Of which the first task is taken, ``[T, ...]``.

    Returns:
        The largest change of an output; 0 if it is rounding; ``None`` if there is but one query, or an output is not
        finite.
    """
    task = episode.chunks(1)[0]
    kept = task.query.y.shape[1] // 2
    if kept == 0:
        return None
    x = task.query.x
    others = torch.cat([x[:, :kept], 1 - x[:, kept:].flip(1)], dim=1)
    before, after = (
        predict(task._replace(query=task.query._replace(x=inputs))).outputs[:, :kept].double() for inputs in (x, others)
    )
    moved = (after - before).abs().max().item()
    if not isfinite(moved):
        return None
    return moved if moved > ROUNDING * before.abs().max().item() else 0.0


def batch_layers(network: nn.Module) -> list[str]:
    """The layers that would normalise by the batch at hand, whatever support set they are told."""
    names = {module: name for name, module in network.named_modules()}
    return [
        f"{names[norm]} ({type(norm).__name__})"
        for norm in norms_of(network)
        if type(norm).__module__.startswith("torch.") and (norm.training or not norm.track_running_stats)
    ]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Sets a module to evaluation mode, and every part of it back; draws no random number."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
