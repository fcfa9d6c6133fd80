"""Conv4, the network of the first papers."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.errors import FewShotError, at_least_one
from fewshot.fast.layers import BatchNorm, Conv2d
from fewshot.networks.base import Embedding, check_images


class Conv4(Embedding):
    """Four blocks of 3x3 convolution, batch norm and ReLU, each halving the image; then means over space.

    The network of Vinyals et al., 2016, Matching Networks for One Shot Learning, https://arxiv.org/abs/1606.04080.
    Finn et al., 2017 (MAML) halve by strides on Omniglot, Snell et al., 2017 (prototypical networks) by pooling.
    The convolutions have no bias: batch norm would cancel it.

    Args:
        channels: Filters per layer; the feature vector has ``channels * cells * cells`` numbers.
        in_channels: Channels of the images.
        downsample: How a block halves the image: a strided convolution, or 2x2 max-pooling (dearer: 3 to 4 times the
            multiplications).
        running_statistics: If true, batch norm keeps running averages while training and normalises by them in
            evaluation; if false, it always normalises by the batch at hand. MAML wants false.
        cells: The features are means over ``cells`` x ``cells`` parts of the space. 1 is the mean over all of it, as in
            MAML; 2 keeps the 2 x 2 places that strides leave of 28 x 28.

    Raises:
        FewShotError: If a number is below 1.
    """

    def __init__(
        self,
        channels: int = 64,
        in_channels: int = 1,
        downsample: Literal["stride", "pool"] = "stride",
        running_statistics: bool = False,
        cells: int = 1,
    ) -> None:
        super().__init__()
        at_least_one(channels=channels, in_channels=in_channels, cells=cells)
        self.in_channels, self.cells = in_channels, cells
        self.out_features = channels * cells * cells
        stride = 2 if downsample == "stride" else 1
        self.convolutions = nn.ModuleList(
            Conv2d(in_channels if i == 0 else channels, channels, kernel_size=3, stride=stride, padding=1)
            for i in range(4)
        )
        self.norms = nn.ModuleList(
            BatchNorm(channels, track_running_stats=running_statistics) for _ in self.convolutions
        )
        self.pool = nn.MaxPool2d(2) if downsample == "pool" else nn.Identity()

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """Channels, and ``cells`` x ``cells``."""
        return self.out_features // self.cells**2, self.cells, self.cells

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds images ``[n, C, H, W]`` as ``[n, out_features]``."""
        check_images(x, self.in_channels, least=16 if isinstance(self.pool, nn.MaxPool2d) else 1)
        for convolution, norm in zip(self.convolutions, self.norms):
            x = torch.relu(self.pool(norm(convolution(x), support_size)))  # the other way round is the same, and dearer
        if self.cells == 1:
            return x.mean(dim=(2, 3))
        if min(x.shape[2:]) < self.cells:
            height, width = x.shape[2:]
            raise FewShotError(
                f"{height} x {width} places are left of the images, fewer than cells ({self.cells}): lower "
                "--model.network.cells, or set --model.network.downsample stride"
            )
        return F.adaptive_avg_pool2d(x, self.cells).flatten(1)
