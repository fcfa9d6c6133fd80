"""What the learners share that compare queries with a support set in an embedding: any number of ways and shots."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms.base import EpisodicModule
from fewshot.algorithms.gradients import OuterStep
from fewshot.algorithms.remembering import Remembering
from fewshot.episodes import Episode, Examples, Prediction
from fewshot.errors import FewShotError, in_range
from fewshot.networks import Embedding, keeps_running_statistics

IMAGES_AT_ONCE = 128
"""Images to embed at once in an evaluation, where each is judged on its own: fewer fit a processor's cache."""

MOST_SHIFT = 8  # pixels: 289 images in place of one


def shifted(images: Tensor, pixels: int) -> Iterator[Tensor]:
    """Yields images ``[n, C, H, W]`` shifted by every number of pixels up to ``pixels`` each way, 0 moving in."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [pixels] * 4)
    for y, x in product(range(2 * pixels + 1), repeat=2):
        yield padded[..., y : y + height, x : x + width]


def prototypes(support: Examples) -> Tensor:
    """Class means of embedded supports.

    Args:
        support: Embeddings ``[T, N*K, D]`` and labels ``[T, N*K]``, in any order.

    Returns:
        The prototypes, ``[T, N, D]``.
    """
    members = F.one_hot(support.y).to(support.x.dtype)  # [T, N*K, N]
    return torch.einsum("tsn,tsd->tnd", members, support.x) / members.sum(1).unsqueeze(-1)


def log_sums(logarithms: Tensor, labels: Tensor) -> Tensor:
    """Logarithms of the sums over the supports of each class, which do not underflow.

    Args:
        logarithms: Of what each query makes of each support, ``[T, n, N*K]``.
        labels: Of the support set, ``[T, N*K]``, in any order.

    Returns:
        ``[T, n, N]``.
    """
    others = F.one_hot(labels).logical_not().unsqueeze(1)  # [T, 1, N*K, N]
    return logarithms.unsqueeze(-1).masked_fill(others, -torch.inf).logsumexp(2)


class MetricModule(EpisodicModule):
    """A learner that compares the queries with the support set in an embedding.

    Each query is judged on its own: batch norm normalises by the statistics of training.

    Attributes:
        exact: Whether :meth:`compare` is worked out in float32 (or float64) whatever the precision of the training.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        test_shift: In evaluation, an image is embedded as the mean of what the network makes of it shifted by up to so
            many pixels each way: 1 is nine images in place of one, and so many times the work. Networks that see
            coarse grids alone see more of them. 0: the image as it is.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    exact = False

    def __init__(self, network: Embedding, test_shift: int = 0, **shared: Any) -> None:
        super().__init__(loss="cross-entropy", **shared)
        if keeps_running_statistics(network) is False:
            raise FewShotError(
                f"{self.title} needs batch norm with running statistics, or else the tasks of a meta-batch change one "
                "another's predictions: --model.network.running_statistics true"
            )
        in_range(0, MOST_SHIFT, test_shift=test_shift)
        self.network = network
        self.test_shift = test_shift
        self._memory: Remembering | None = None  # of the evaluation that goes on
        self._recalls = False

    def setup(self, stage: str) -> None:
        """Refuses a precision that layers which are exact cannot have.

        Raises:
            FewShotError: If the weights are of a half precision, and some of them compare in float32.
        """
        super().setup(stage)
        precision, of_network = str(self.trainer.precision), {*self.network.parameters()}
        if self.exact and precision in ("16-true", "bf16-true") and {*self.parameters()} - of_network:
            raise FewShotError(
                f"{self.title} compares in float32, which weights in {precision} cannot: use --trainer.precision "
                "bf16-mixed or 32-true"
            )

    @abstractmethod
    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Logits of the queries, ``[T, n, N]``.

        Args:
            support: Embeddings ``[T, N*K, D]`` and labels ``[T, N*K]``, in any order.
            queries: Embeddings ``[T, n, D]``.
        """

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of the queries, all images of all tasks embedded together."""
        logits = self._logits(*self.embed(episode))
        return OuterStep(self.loss(logits, episode.query.y), logits)

    def predict(self, episode: Episode) -> Prediction:
        """Compares, each image embedded on its own."""
        with torch.no_grad():
            return Prediction(self._logits(*self.embed(episode, IMAGES_AT_ONCE)))

    def embed(self, episode: Episode, at_once: int | None = None) -> tuple[Examples, Tensor]:
        """The embedded support set and queries, as :meth:`compare` takes them.

        Args:
            episode: A meta-batch.
            at_once: Images to embed at once; ``None``: all of them.
        """
        tasks, supports = episode.support.y.shape
        images = torch.cat([episode.support.x, episode.query.x], dim=1).flatten(0, 1)  # [T*N*(K+Q), C, H, W]
        embedded = self._embed(images, at_once or len(images)).unflatten(0, (tasks, -1))  # [T, N*(K+Q), D]
        if self.exact:
            embedded = embedded.to(torch.promote_types(embedded.dtype, torch.float32))
        return Examples(embedded[:, :supports], episode.support.y), embedded[:, supports:]

    def _embed(self, images: Tensor, at_once: int) -> Tensor:
        if self._recalls and self._memory is not None and images.device.type == "cpu":
            return self._memory(self.features, images, at_once)
        return torch.cat([self.features(part) for part in images.split(at_once)])

    def features(self, images: Tensor) -> Tensor:
        """What is compared of images ``[n, C, H, W]``: ``[n, D]``."""
        if self.training or not self.test_shift:
            return self.network(images)
        return torch.stack([self.network(view) for view in shifted(images, self.test_shift)]).mean(0)

    def _logits(self, support: Examples, queries: Tensor) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False) if self.exact else nullcontext():
            return self.compare(support, queries)

    def _begin(self) -> None:
        """Begins with nothing remembered: the weights may have changed."""
        super()._begin()
        self._memory = Remembering()

    def _judge(self, episode: Episode, split: str) -> dict[str, Prediction]:
        """Embeds each image of an evaluation once; :meth:`verify` has to see what the network makes of each batch."""
        self._recalls = True
        try:
            return super()._judge(episode, split)
        finally:
            self._recalls = False

    def _log_summary(self, split: str) -> None:
        super()._log_summary(split)
        self._memory = None

    def describe(self) -> dict[str, Any]:
        """No steps are taken."""
        shift = {"test_shift": self.test_shift} if self.test_shift else {}
        return {"adaptation_steps": 0, "batch_norm": "running", **shift}
