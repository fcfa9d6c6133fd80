"""Fits of a sinusoid: a few support points on it, and what learners make of them."""

from dataclasses import dataclass

import numpy as np
import torch

from fewshot.episodes import Episode, Examples
from fewshot.explore.shelf import Learner

X = (-5.0, 5.0)
AMPLITUDE, PHASE = (0.1, 5.0), (0.0, 3.14)
MOST_STEPS, MOST_POINTS = 10, 5
GRID = np.linspace(*X, 201)
"""Where the fits are drawn, and their error is taken."""


@dataclass(frozen=True)
class Wave:
    """y = A sin(x + φ).

    Attributes:
        amplitude: A.
        phase: φ, in radians.
    """

    amplitude: float
    phase: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The heights at some places."""
        return self.amplitude * np.sin(x + self.phase)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Wave":
        """One of those that the learners were trained on."""
        return cls(rng.uniform(*AMPLITUDE), rng.uniform(*PHASE))


def places(x: list[float]) -> np.ndarray:
    """The last five of the places that were clicked, those that are numbers, within the plot."""
    numbers = np.array([value for value in x if isinstance(value, int | float) and np.isfinite(value)], dtype=float)
    return numbers.clip(*X)[-MOST_POINTS:]


def episode(wave: Wave, support: np.ndarray) -> Episode:
    """A task of one wave: its support points ``[K]``, to be judged at :data:`GRID`."""

    def examples(x: np.ndarray) -> Examples:
        return Examples(*(torch.from_numpy(values).float().reshape(1, -1, 1) for values in (x, wave(x))))

    return Episode(examples(support), examples(GRID))


@dataclass(frozen=True)
class Fit:
    """What a learner makes of a wave.

    Attributes:
        y: Its heights at :data:`GRID` after 0, 1, ... steps, ``[steps + 1, 201]``.
        errors: Its mean squared error after each, ``[steps + 1]``.
    """

    y: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, learner: Learner, task: Episode, steps: int = MOST_STEPS) -> "Fit":
        """Adapts a learner to a task; without support points it stays as it is."""
        taken = steps if task.support.x.shape[1] else 0
        outputs = learner.after_steps(task, taken)
        outputs += outputs[-1:] * (steps - taken)
        errors = [learner.module.objective.judge(output, task.query.y).item() for output in outputs]
        return cls(torch.cat(outputs)[..., 0].numpy(), np.array(errors))
