"""What goes on in a learner while it adapts to one test episode."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.func import functional_call

from fewshot.algorithms import AdaptingModule, MetricModule
from fewshot.algorithms.protonet import prototypes
from fewshot.episodes import Episode, Examples
from fewshot.explore.shelf import Learner
from fewshot.networks import per_step_tables, rows_of_step

WAYS, QUERIES, MOST_STEPS = 5, 3, 10
EPISODES = 600
"""To choose from."""


@dataclass(frozen=True)
class Inside:
    """What is to be seen, after 0, 1, ..., S inner steps.

    Attributes:
        probabilities: Of each query and class, ``[S + 1, queries, N]``.
        accuracies: Share of the queries that are right, ``[S + 1]``.
        support: Embeddings of the support set in the plane, ``[S + 1, supports, 2]``.
        queries: Those of the queries.
        prototypes: The means of the classes, ``[S + 1, N, 2]``.
        explained: How much of the variance the plane shows, 0 to 1.
    """

    probabilities: np.ndarray
    accuracies: np.ndarray
    support: np.ndarray
    queries: np.ndarray
    prototypes: np.ndarray
    explained: float

    @classmethod
    def of(cls, learner: Learner, episode: Episode, steps: int = MOST_STEPS) -> "Inside":
        """Adapts a learner to an episode of one task; one that takes no steps has a single state, 0."""
        taken = steps if learner.adapts else 0
        outputs = torch.cat(learner.after_steps(episode, taken))  # [S + 1, queries, N]
        features = embeddings(learner, episode, taken)
        supports = episode.support.y.shape[1]
        means = prototypes(Examples(features[:, :supports], episode.support.y.expand(taken + 1, -1)))
        plane = PCA(2).fit(features.flatten(0, 1).numpy())  # one plane for all steps: nothing jumps
        shown, asked, centres = (
            plane.transform(part.flatten(0, 1).numpy()).reshape(taken + 1, -1, 2)
            for part in (features[:, :supports], features[:, supports:], means)
        )
        scores = learner.module.objective.scores(outputs, episode.query.y.expand(taken + 1, -1))
        share = float(plane.explained_variance_ratio_.sum())
        return cls(outputs.softmax(-1).numpy(), scores.numpy(), shown, asked, centres, share)


def embeddings(learner: Learner, episode: Episode, steps: int) -> Tensor:
    """Feature vectors of support and queries, ``[S + 1, supports + queries, D]``, after 0, 1, ... steps."""
    images = torch.cat([episode.support.x[0], episode.query.x[0]])
    module = learner.module
    if isinstance(module, MetricModule):
        with torch.no_grad():
            return module.features(images)[None]
    assert isinstance(module, AdaptingModule)
    features, supports = module.network.features, episode.support.y.shape[1]
    statistics = supports if module.batch_norm == "inductive" else None
    result = []
    for step, adapted in enumerate(module.adapt(episode.support, steps, "none", module.test_inner_loop)):
        own = {
            name.removeprefix("features."): weight[0]
            for name, weight in adapted.weights.items()
            if name.startswith("features.")
        }
        with torch.no_grad():
            rows = rows_of_step(per_step_tables(features), step)
            result.append(functional_call(features, {**rows, **own}, (images, statistics)))
    return torch.stack(result)
