"""A one-shot test for people and learners: which of N characters is the same as the one in question?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest

from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.explore.shelf import Characters, Learner
from fewshot.metrics import Difference, paired_difference

WAYS = (5, 20)
YOU = "You"
MANY = 10**6  # episodes that nobody gets to the end of


class Trial(NamedTuple):
    """One question.

    Attributes:
        episode: A task of one support image per class and a single query, ``[1, n, 1, 28, 28]`` of 0 to 1.
        answer: The class of the query.
    """

    episode: Episode
    answer: int


class Score(NamedTuple):
    """How often somebody was right.

    Attributes:
        right: So many times.
        trials: Of so many.
        low: Lower end of the 95 % confidence interval of the share (Wilson), 0 to 1.
        high: Upper end.
        behind: The visitor's share minus theirs on the same trials, from two trials on.
    """

    right: int
    trials: int
    low: float
    high: float
    behind: Difference | None


class Race:
    """The trials of one visitor, and who was right.

    Attributes:
        ways: Classes of a trial.
        trial: The question.
        given: What everybody has answered to it, by name; empty before the visitor has.
        results: For each number of ways, what everybody's answers were, 1 for right; learners for as many classes only.
        listeners: Called after every answer.

    Args:
        characters: What is asked for.
        learners: Who answers as well.
        seed: Which trials are asked.
        ways: Classes of a trial.
    """

    def __init__(
        self, characters: Characters, learners: dict[str, Learner], seed: int | None = None, ways: int = WAYS[0]
    ) -> None:
        self.characters, self.learners = characters, learners
        self.rng = np.random.default_rng(seed)
        self.results: dict[int, dict[str, list[float]]] = {ways: {} for ways in WAYS}
        self.given: dict[str, int] = {}
        self.listeners: list[Callable[[], None]] = []
        self.begin(ways)

    def begin(self, ways: int) -> None:
        """Asks trials of so many classes from now on.

        Raises:
            FewShotError: If it is none of :data:`WAYS`.
        """
        if ways not in WAYS:
            raise FewShotError(f"trials are of {' or '.join(map(str, WAYS))} classes, not of {ways}")
        self.ways = ways
        self.next()

    def next(self) -> None:
        """Asks the next question."""
        self.given = {}
        episode = self.characters.episode(int(self.rng.integers(MANY)), self.ways, queries=1)
        answer = int(self.rng.integers(self.ways))
        one = Examples(episode.query.x[:, [answer]], episode.query.y[:, [answer]])
        self.trial = Trial(episode._replace(query=one), answer)

    def answer(self, choice: int) -> None:
        """Takes the visitor's answer, and lets the learners answer, too.

        Raises:
            FewShotError: If there is no such class, or the question was answered before.
        """
        if self.given or not 0 <= choice < self.ways:
            raise FewShotError("the question was answered before" if self.given else f"there is no class {choice}")
        given = {YOU: choice}
        for name, learner in self.contestants().items():
            outputs = learner.after_steps(self.trial.episode, learner.steps)[-1]
            given[name] = int(outputs[0, 0].argmax())
        self.given = given
        for name, theirs in given.items():
            self.results[self.ways].setdefault(name, []).append(float(theirs == self.trial.answer))
        for tell in self.listeners:
            tell()

    def contestants(self) -> dict[str, Learner]:
        """The learners that can tell so many classes apart, by name."""
        return {name: one for name, one in self.learners.items() if one.most_ways in (None, self.ways)}

    def scores(self, ways: int | None = None) -> dict[str, Score]:
        """Everybody's score so far in trials of so many ways; of the present ones if not given."""
        results = self.results[ways or self.ways]
        return {name: score(theirs, results[YOU] if name != YOU else None) for name, theirs in results.items()}


def score(results: Sequence[float], yours: Sequence[float] | None) -> Score:
    """A score from the answers, 1 for right, and those of the visitor to the same questions."""
    right, trials = int(sum(results)), len(results)
    interval = binomtest(right, trials).proportion_ci(method="wilson")
    behind = paired_difference(yours, results) if yours is not None and trials > 1 else None
    return Score(right, trials, float(interval.low), float(interval.high), behind)


def pixels(images: torch.Tensor) -> list[np.ndarray]:
    """Images ``[n, 1, H, W]`` as Bokeh draws them: from the bottom up."""
    return [image[0].flip(0).numpy(force=True) for image in images]
