"""A network of one's own: its first layers are frozen, as those of a pretrained backbone would be."""

import torch
from torch import Tensor, nn

from fewshot.networks import Embedding


class Frozen(Embedding):
    """A frozen convolution with batch norm that keeps the statistics of training, and a layer on top that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
        )
        self.backbone.requires_grad_(False)
        self.top = nn.Linear(128, 16)
        self.out_features = 16

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds images ``[n, 3, H, W]`` as ``[n, 16]``."""
        return torch.relu(self.top(self.backbone(x).flatten(1)))
