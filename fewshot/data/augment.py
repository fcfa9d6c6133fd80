"""Random changes of training images: each image of a batch its own, all of them at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2 import Transform

from fewshot.errors import in_range


class RandomAffine(Transform):
    """Rotates, scales, shears and shifts each image of a batch by random amounts of its own.

    What comes in from outside is black, as the paper of Omniglot's images is here.

    Args:
        degrees: Rotation, uniform in ± so many degrees.
        scale: Width and height, each scaled by a factor uniform in 1 ± this.
        shear: Shear, uniform in ± this: by how much of its height the top moves sideways against the middle.
        translate: Shift, each way uniform in ± this share of the image.

    Raises:
        FewShotError: If a number is out of range.
    """

    def __init__(self, degrees: float = 0.0, scale: float = 0.0, shear: float = 0.0, translate: float = 0.0) -> None:
        super().__init__()
        in_range(0, 180, degrees=degrees)
        in_range(0, 0.9, scale=scale)
        in_range(0, 1, shear=shear, translate=translate)
        self.degrees, self.scale, self.shear, self.translate = degrees, scale, shear, translate

    def forward(self, images: Tensor) -> Tensor:
        """Changes ``[n, C, H, W]``."""

        def uniform(spread: float, *shape: int) -> Tensor:
            return spread * (2 * torch.rand(len(images), *shape, device=images.device) - 1)

        angle, shear = uniform(math.radians(self.degrees)), uniform(self.shear)
        zoom, shift = 1 / (1 + uniform(self.scale, 2)), 2 * uniform(self.translate, 2)
        cos, sin = angle.cos(), angle.sin()
        tall = images.shape[2] / images.shape[3]  # places are from -1 to 1 both ways
        # Where each place of the new image comes from in the old one: a rotation, behind a shear and a scale.
        x = torch.stack([zoom[:, 0] * cos, zoom[:, 0] * (shear * cos - sin) * tall, shift[:, 0]], dim=1)
        y = torch.stack([zoom[:, 1] * sin / tall, zoom[:, 1] * (shear * sin + cos), shift[:, 1]], dim=1)
        grid = F.affine_grid(torch.stack([x, y], dim=1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid.to(images.dtype), align_corners=False)


class RandomWaves(Transform):
    """Bends each image of a batch by a smooth random field of its own, as another hand would draw other curves.

    Simard, Steinkraus and Platt, 2003, Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis. Deviation: the field is interpolated between random shifts on a coarse grid, not smoothed by a Gaussian.

    Args:
        strength: Standard deviation of the shifts, as a share of half of the image.
        cells: Shifts along each side, at least 2: more of them make shorter waves.

    Raises:
        FewShotError: If a number is out of range.
    """

    def __init__(self, strength: float = 0.05, cells: int = 5) -> None:
        super().__init__()
        in_range(0, 1, strength=strength)
        in_range(2, 64, cells=cells)
        self.strength, self.cells = strength, cells

    def forward(self, images: Tensor) -> Tensor:
        """Changes ``[n, C, H, W]``."""
        shape, device = list(images.shape), images.device
        shifts = self.strength * torch.randn(len(images), 2, self.cells, self.cells, device=device)
        waves = F.interpolate(shifts, size=shape[2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        same = F.affine_grid(torch.eye(2, 3, device=device).unsqueeze(0), [1, *shape[1:]], align_corners=False)
        return F.grid_sample(images, (same + waves).to(images.dtype), align_corners=False)


class RandomFlip(Transform):
    """Mirrors each image of a batch, left to right, or leaves it, by a coin of its own.

    Args:
        p: How likely it is mirrored, 0 to 1.

    Raises:
        FewShotError: If ``p`` is out of range.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        in_range(0, 1, p=p)
        self.p = p

    def forward(self, images: Tensor) -> Tensor:
        """Changes ``[n, C, H, W]``."""
        mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < self.p
        return torch.where(mirrored, images.flip(-1), images)


class OneByOne(nn.Module):
    """A transform that draws once for all that it is given, applied to one image after another."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        """Changes ``[n, C, H, W]``."""
        return torch.stack([self.transform(image) for image in images])


def each_its_own(transform: Transform) -> nn.Module:
    """The transform as one that changes each image of a batch on its own: torchvision's draw once for a whole batch."""
    return transform if isinstance(transform, RandomAffine | RandomWaves | RandomFlip) else OneByOne(transform)
