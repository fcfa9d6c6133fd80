"""Few-shot tasks as data: what an episode is, and all that data and learners know of each other."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from fewshot.objectives import LossName

SPLITS = ("train", "val", "test")


class Examples(NamedTuple):
    """The examples of T tasks.

    Attributes:
        x: Inputs, ``[T, n, C, H, W]``, or ``[T, n, 1]`` for regression.
        y: Labels within the task, 0 to N-1, ``[T, n]``, or targets ``[T, n, 1]``.
    """

    x: Tensor
    y: Tensor


class Episode(NamedTuple):
    """A meta-batch of T tasks.

    Attributes:
        support: The labelled examples to adapt on, n = N*K, class after class; n = K for regression.
        query: The examples to be judged on, n = N*Q, class after class; n = Q for regression.
        classes: Which classes of the split the labels stand for, ``[T, N]``; ``None`` for regression.
    """

    support: Examples
    query: Examples
    classes: Tensor | None = None

    def chunks(self, tasks: int | None) -> list["Episode"]:
        """Cuts the meta-batch into smaller ones of so many tasks, the last perhaps of fewer; ``None``: into one."""
        count = len(self.query.y)
        return [self._tasks(slice(start, start + (tasks or count))) for start in range(0, count, tasks or count)]

    def _tasks(self, some: slice) -> "Episode":
        support, query = (Examples(examples.x[some], examples.y[some]) for examples in (self.support, self.query))
        return Episode(support, query, None if self.classes is None else self.classes[some])


class Prediction(NamedTuple):
    """What a learner says of the queries of T tasks.

    Attributes:
        outputs: After adaptation: logits ``[T, N*Q, N]``, or for regression numbers ``[T, Q, 1]``.
        before: Before adaptation, the same shape; ``None`` from a learner that has no such thing.
    """

    outputs: Tensor
    before: Tensor | None = None


class DataSpec(NamedTuple):
    """What data state about themselves: all that a learner may ask of them.

    Attributes:
        outputs: Outputs that a learner needs in training: classes per task, N, or numbers per target.
        test_outputs: The same in validation and test.
        loss: What suits the targets.
        example_shape: Shape of one example, such as ``(1, 28, 28)``; ``None`` until the data are loaded.
        class_names: The classes of each split, in the order of :attr:`Episode.classes`; empty for regression, and until
            the data are loaded.
    """

    outputs: int
    test_outputs: int
    loss: LossName
    example_shape: tuple[int, ...] | None = None
    class_names: Mapping[str, tuple[str, ...]] = {}
