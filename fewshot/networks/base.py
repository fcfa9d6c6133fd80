"""What a network is: an embedding (the body), and the classifier that puts a linear head on one."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Embedding(nn.Module, ABC):
    """A network from examples to feature vectors.

    Attributes:
        out_features: Length of a feature vector.
    """

    out_features: int

    @abstractmethod
    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds ``x``, ``[n, ...]``, as ``[n, out_features]``.

        Args:
            x: The examples of one task.
            support_size: If given, batch statistics come from the first so many examples alone.
        """


class Classifier(nn.Module):
    """An embedding network with a linear head.

    Args:
        features: The body.
        outputs: Number of outputs of the head: the classes of a task, or the dimensions of a target.
    """

    def __init__(self, features: Embedding, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(features.out_features, outputs)

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Maps the examples of one task, ``[n, ...]``, to outputs ``[n, outputs]``."""
        return self.head(self.features(x, support_size))
