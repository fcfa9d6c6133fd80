"""Fine-tuning a backbone on the support set: scales and shifts of its normalisation layers, and the head."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import Tensor, nn

from fewshot.classifier.estimate import HeldOut, best_temperature, better, deal
from fewshot.classifier.heads import LinearHead, fit_linear, log_loss
from fewshot.classifier.sources import both_ways
from fewshot.networks import PretrainedEmbedding
from fewshot.terminal import console

EPOCHS = 10  # at most; which of them is the best is found on held-out examples
BATCH = 32
LEARNING_RATE = 1e-3


class Tuned(NamedTuple):
    """A backbone and a head that are better than the frozen ones.

    Attributes:
        network: The backbone.
        head: Linear in its features of length one.
        held_out: Support examples judged by networks that were tuned without them.
    """

    network: PretrainedEmbedding
    head: LinearHead
    held_out: HeldOut


class Learner(nn.Module):
    """A copy of a backbone whose norms learn, with a linear head that starts where a fitted one stands."""

    def __init__(self, network: PretrainedEmbedding, head: LinearHead, temperature: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.set_tune("norm")
        self.weight, self.bias = (nn.Parameter(torch.from_numpy(part).float() / temperature) for part in head)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[n, N]`` of images ``uint8`` ``[n, C, H, W]``."""
        return F.linear(F.normalize(both_ways(self.network, images.float() / 255)), self.weight, self.bias)

    def epochs(self, images: Tensor, labels: Tensor, seed: int) -> Iterator[int]:
        """Trains by Adam on the cross-entropy, and yields the number of epochs done, from 0 on."""
        yield 0
        optimizer = torch.optim.Adam((part for part in self.parameters() if part.requires_grad), LEARNING_RATE)
        generator = torch.Generator().manual_seed(seed)
        for epoch in range(EPOCHS):
            for rows in torch.randperm(len(images), generator=generator).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(self(images[rows]), labels[rows]).backward()
                optimizer.step()
            yield epoch + 1

    def scores(self, images: Tensor) -> np.ndarray:
        """Logits without a graph."""
        with torch.no_grad():
            return torch.cat([self(part) for part in images.split(BATCH)]).numpy()


def tune(
    network: PretrainedEmbedding,
    head: str,
    features: np.ndarray,
    temperature: float,
    images: Sequence[np.ndarray],
    labels: np.ndarray,
    seed: int = 0,
) -> Tuned | None:
    """Tunes a backbone, and keeps it only if held-out examples are judged better beyond chance.

    Basu et al., 2023, Strong Baselines for Parameter Efficient Few-Shot Fine-tuning, https://arxiv.org/abs/2304.01917,
    tune the norms of transformers. How many epochs is found on the same held-out examples that decide (the paper
    has a validation set), so that their log loss is a little too low. Zero epochs is the frozen one.

    Args:
        network: The frozen backbone.
        head: Which linear head the tuned one starts from: in each fold fitted to the examples that are not held out.
        features: Of the frozen backbone, ``[n, D]``.
        temperature: Of that head.
        images: As the backbone reads pictures, ``uint8`` ``[C, H, W]`` each.
        labels: ``[n]``, 0 to N-1.
        seed: Of the folds and of the order of examples.

    Returns:
        ``None``, if tuning is not better, or no class has two examples.
    """
    pixels, targets = torch.from_numpy(np.stack(images)), torch.from_numpy(labels)
    folds = deal(labels, seed)
    if not len(folds):
        return None
    rows = np.concatenate(folds)
    parts: list[np.ndarray] = []
    with Progress(console=console(), transient=True) as progress:
        bar = progress.add_task("Tuning", total=(len(folds) + 1) * EPOCHS)
        for out in folds:
            rest = np.setdiff1d(np.arange(len(labels)), out)
            start = fit_linear(head, features[rest], labels[rest])
            learner, after = Learner(network, start, temperature), []
            for _ in learner.epochs(pixels[rest], targets[rest], seed):
                after.append(learner.scores(pixels[out]))
                progress.advance(bar)
            parts.append(np.stack(after))
        judged = np.concatenate(parts, axis=1)  # [epochs + 1, m, N]
        best = int(np.argmin([log_loss(scores, labels[rows], 1.0) for scores in judged]))
        if not better(judged[best].argmax(1) == labels[rows], judged[0].argmax(1) == labels[rows]):
            return None
        learner = Learner(network, fit_linear(head, features, labels), temperature)
        for epoch in learner.epochs(pixels, targets, seed):
            progress.advance(bar)
            if epoch == best:
                break
    tuned = LinearHead(*(part.detach().numpy() for part in (learner.weight, learner.bias)))
    held_out = HeldOut(rows, judged[best], labels[rows], best_temperature(judged[best], labels[rows]))
    return Tuned(learner.network, tuned, held_out)
