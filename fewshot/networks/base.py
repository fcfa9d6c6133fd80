"""What a network is: an embedding (the body), and the classifier that puts a linear head on one."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from fewshot.errors import FewShotError


class Embedding(nn.Module, ABC):
    """A network from examples to feature vectors.

    Attributes:
        out_features: Length of a feature vector.
    """

    out_features: int

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the maps that a feature vector is, flattened: 1 x 1 of one without places."""
        return self.out_features, 1, 1

    def begin_batch(self) -> None:
        """Is called once before each training batch; for networks whose dropout changes over the training."""

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


def check_images(x: Tensor, channels: int, least: int = 1) -> None:
    """Refuses examples that a network for images cannot take.

    Args:
        x: The examples of one task; images are ``[n, C, H, W]``.
        channels: The channels that it takes.
        least: The height and width that it needs.

    Raises:
        FewShotError: If they are no images, have other channels, or are too small.
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise FewShotError(
            f"the network takes images of {channels} channels, and the data have examples of shape "
            f"{list(x.shape[1:])}: "
            + (f"--model.network.in_channels {x.shape[1]}" if x.ndim == 4 else "choose another --model.network")
        )
    if min(x.shape[2:]) < least:
        raise FewShotError(
            f"the network takes images of at least {least} x {least} pixels, and the data have {x.shape[2]} x "
            f"{x.shape[3]}: take larger ones, or another --model.network"
        )
