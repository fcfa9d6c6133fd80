"""Random changes of training images: by how much, each image on its own, and the same again from the same seed."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from fewshot.data.augment import OneByOne, RandomAffine, RandomFlip, RandomWaves, each_its_own
from fewshot.errors import FewShotError

ALL = [
    RandomAffine(degrees=30, scale=0.2, shear=0.2, translate=0.1),
    RandomWaves(0.1),
    RandomFlip(),
    OneByOne(v2.RandomRotation(90)),
]
NAMES = [type(transform).__name__ for transform in ALL]


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is uniform is drawn at its upper end."""
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.ones(shape, device=device))


def pictures(*shape: int) -> Tensor:
    """Random images, whatever becomes of ``torch.rand``."""
    return torch.empty(shape).uniform_()


def near(changed: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", [RandomAffine(), RandomWaves(strength=0), RandomFlip(p=0)])
def test_no_strength_is_no_change(transform):
    images = torch.rand(4, 3, 9, 7)
    near(transform(images), images)


def test_a_quarter_turn_is_a_quarter_turn(most):
    images = pictures(2, 3, 9, 9)
    near(RandomAffine(degrees=90)(images), images.rot90(1, dims=(-2, -1)))


def test_what_is_turned_keeps_its_shape_in_an_image_that_is_not_square(most):
    bar = torch.zeros(1, 1, 60, 20)
    bar[..., 20:40, 6:14] = 1  # 20 high, 8 wide
    turned = RandomAffine(degrees=90)(bar)[0, 0] > 0.5
    assert (turned.any(1).sum(), turned.any(0).sum()) == (8, 20)
    leaning = RandomAffine(shear=0.5)(bar)[0, 0]
    centres = ((leaning * torch.arange(20)).sum(1) / leaning.sum(1))[22:38]
    near(centres.diff().abs(), torch.full((15,), 0.5))  # half a pixel a row, as in a square


def test_what_is_shifted_in_is_black(most):
    images = pictures(2, 1, 8, 8)
    shifted = RandomAffine(translate=0.25)(images)  # by 2 of 8 pixels, each way
    near(shifted[..., :6, :6], images[..., 2:, 2:])
    assert shifted[..., 6:, :].count_nonzero() == shifted[..., 6:].count_nonzero() == 0


def test_a_scale_widens_what_is_there(most):
    square = torch.zeros(1, 1, 20, 20)
    square[..., 5:15, 5:15] = 1  # 10 x 10 around the middle
    assert RandomAffine(scale=0.5)(square).sum().item() == pytest.approx(15 * 15, rel=0.02)


def test_a_shear_moves_the_top_and_the_bottom_against_each_other(most):
    bar = torch.zeros(1, 1, 20, 20)
    bar[..., 9:11] = 1
    sheared = RandomAffine(shear=0.5)(bar)[0, 0]
    centres = (sheared * torch.arange(20)).sum(1) / sheared.sum(1)
    assert (centres[0] - centres[-1]).abs().item() == pytest.approx(0.5 * 19, abs=0.01)
    assert centres.mean().item() == pytest.approx(9.5, abs=0.01)


def test_a_flip_mirrors_about_half_of_the_images():
    images = torch.rand(400, 1, 2, 3)
    near(RandomFlip(p=1)(images), images.flip(-1))
    changed = RandomFlip()(images)
    mirrored = (changed == images.flip(-1)).flatten(1).all(1)
    assert 150 < mirrored.sum() < 250  # within five standard deviations of 200
    near(changed[~mirrored], images[~mirrored])


@pytest.mark.parametrize("transform", ALL, ids=NAMES)
def test_each_image_has_a_change_of_its_own_which_the_seed_decides(transform):
    images = torch.rand(1, 1, 12, 12).expand(8, -1, -1, -1)
    changed = transform(images)
    assert len(changed.unique(dim=0)) == (2 if isinstance(transform, RandomFlip) else 8)
    torch.manual_seed(1)
    one = transform(images)
    torch.manual_seed(1)
    assert torch.equal(transform(images), one)
    assert not torch.equal(changed, one)


@pytest.mark.parametrize("transform", ALL, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_stay_images(transform, dtype):
    images = torch.randint(2, (16, 3, 12, 12)).to(dtype)
    changed = transform(images)
    assert changed.shape == images.shape
    assert changed.dtype == dtype
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6
    assert not changed.requires_grad


def test_torchvisions_transforms_are_applied_to_one_image_after_another():
    flip, ours = v2.RandomHorizontalFlip(), RandomFlip()
    assert isinstance(each_its_own(flip), OneByOne)
    assert each_its_own(ours) is ours
    images = torch.arange(6.0).view(1, 1, 2, 3).expand(50, -1, -1, -1)
    assert len(flip(images).unique(dim=0)) == 1  # torchvision draws once for all
    assert len(each_its_own(flip)(images).unique(dim=0)) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomAffine(degrees=181), "degrees must be at most 180, not 181"),
        (lambda: RandomAffine(scale=1), "scale must be at most 0.9, not 1"),
        (lambda: RandomAffine(shear=-0.1), "shear must be at least 0, not -0.1"),
        (lambda: RandomAffine(translate=2), "translate must be at most 1, not 2"),
        (lambda: RandomWaves(cells=1), "cells must be at least 2, not 1"),
        (lambda: RandomWaves(strength=-1), "strength must be at least 0, not -1"),
        (lambda: RandomFlip(p=2), "p must be at most 1, not 2"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(FewShotError, match=f"^{message}$"):
        make()
