"""ResNet-12, the field's own residual network, with dropped blocks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.errors import FewShotError, at_least_one
from fewshot.fast.layers import BatchNorm, Conv2d
from fewshot.networks.base import Embedding, check_images

SLOPE = 0.1
"""Of the leaky ReLU."""

BATCHES_TO_FULL_RATE = 40_000
"""Training batches over which the rate of dropped blocks rises from 0."""


class ResNet12(Embedding):
    """Four residual blocks of three 3x3 convolutions, each halving the image; then the mean over space.

    The network of Oreshkin et al., 2018, TADAM, https://arxiv.org/abs/1805.10123 (after Mishra et al., 2018, SNAIL,
    https://arxiv.org/abs/1707.03141), as Lee et al., 2019, Meta-Learning with Differentiable Convex Optimization,
    https://arxiv.org/abs/1904.03758, run it in their published code (MetaOptNet). Deviations from that code: the mean
    over space, as most later work has it, where theirs flattens 5 x 5 places into 16,000 features; batches are counted
    in training alone, theirs in evaluation, too; a map that is smaller than the square is dropped whole.

    Args:
        channels: Filters of the four blocks, the last of them the length of the feature vector: 64, 160, 320, 640 as
            in MetaOptNet; 64, 128, 256, 512 as in TADAM.
        in_channels: Channels of the images.
        running_statistics: If true, batch norm keeps running averages while training and normalises by them in
            evaluation; if false, it always normalises by the batch at hand. MAML wants false.
        drop_rate: Share of the features to drop in training: single ones behind the first two blocks, squares behind
            the last two (DropBlock; Ghiasi, Lin and Le, 2018, https://arxiv.org/abs/1810.12890), whose rate rises from
            0 over 40,000 batches. MetaOptNet: 0.1.
        drop_size: Side of the dropped squares, in places of the feature map. MetaOptNet: 5 at 84 pixels, 2 at 32.

    Raises:
        FewShotError: If a number is out of range.
    """

    batches: Tensor

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (64, 160, 320, 640),
        in_channels: int = 3,
        running_statistics: bool = True,
        drop_rate: float = 0.0,
        drop_size: int = 5,
    ) -> None:
        super().__init__()
        at_least_one(channels=min(channels), in_channels=in_channels, drop_size=drop_size)
        if not 0 <= drop_rate < 1:
            raise FewShotError(f"drop_rate must be at least 0 and below 1, not {drop_rate}")
        self.in_channels, self.out_features = in_channels, channels[-1]
        self.drop_rate, self.drop_size = drop_rate, drop_size
        widths = zip((in_channels, *channels), channels)
        self.blocks = nn.ModuleList(ResidualBlock(*width, running_statistics) for width in widths)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))  # of the training, in the checkpoint

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds images ``[n, C, H, W]`` of at least 16 x 16 pixels as ``[n, channels[-1]]``."""
        check_images(x, self.in_channels, least=2 ** len(self.blocks))
        for number, block in enumerate(self.blocks):
            x = block(x, support_size)
            if self.training and self.drop_rate:
                x = F.dropout(x, self.drop_rate) if number < 2 else drop_squares(x, self.rate(), self.drop_size)
        return x.mean(dim=(2, 3))

    def begin_batch(self) -> None:
        """Counts it."""
        self.batches.add_(1)

    def rate(self) -> Tensor:
        """The share that is dropped in squares by now."""
        return self.drop_rate * (self.batches / BATCHES_TO_FULL_RATE).clamp(max=1)


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions beside a 1x1 convolution, all with batch norm; then 2x2 max-pooling.

    The convolutions have no bias: batch norm would cancel it.

    Args:
        in_channels: Channels of the input.
        channels: Filters of every convolution.
        running_statistics: Whether batch norm keeps running averages.
    """

    def __init__(self, in_channels: int, channels: int, running_statistics: bool) -> None:
        super().__init__()
        widths = [(in_channels, channels), (channels, channels), (channels, channels)]
        self.convolutions = nn.ModuleList(Conv2d(*width, kernel_size=3, stride=1, padding=1) for width in widths)
        self.shortcut = Conv2d(in_channels, channels, kernel_size=1, stride=1, padding=0)
        for convolution in (*self.convolutions, self.shortcut):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="leaky_relu")
        self.norms = nn.ModuleList(BatchNorm(channels, track_running_stats=running_statistics) for _ in range(4))

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Maps ``[n, in_channels, H, W]`` to ``[n, channels, H // 2, W // 2]``."""
        *norms, last = self.norms
        shortcut = last(self.shortcut(x), support_size)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, norms), start=1):
            x = norm(convolution(x), support_size)
            x = F.leaky_relu(x + shortcut if number == len(norms) else x, SLOPE)
        return F.max_pool2d(x, 2)


def drop_squares(x: Tensor, rate: Tensor, size: int) -> Tensor:
    """Sets squares of feature maps to zero, and scales the rest up to the same number of features: DropBlock.

    Args:
        x: ``[n, C, H, W]``.
        rate: The share to drop, ``[]``, but for squares that overlap.
        size: Side of the squares.
    """
    height, width = x.shape[2:]
    size = min(size, height, width)
    rows, columns = height - size + 1, width - size + 1  # where a square's corner may lie
    corners = rate / size**2 * (height * width) / (rows * columns)
    drawn = torch.rand(*x.shape[:2], rows, columns, device=x.device) < corners
    dropped = F.max_pool2d(F.pad(drawn.to(x.dtype), [size - 1] * 4), size, stride=1)
    kept = 1 - dropped
    return x * kept * (kept.numel() / kept.sum(dtype=torch.float32).clamp(min=1))
