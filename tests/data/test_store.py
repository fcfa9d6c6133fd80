"""Stores of images: any number of each class, any shape, in memory or mapped from a file; what cannot be is refused."""

import numpy as np
import pytest
import torch

from fewshot.data import ImageEpisodes, ImageStore
from fewshot.errors import FewShotError

COUNTS = [3, 5, 4]
NAMES = ["greek/alpha", "greek/beta", "latin/a"]


def pictures(channels: int = 1, size: int = 2) -> torch.Tensor:
    """Every image is filled with its own number, and each channel adds 100."""
    numbers = torch.arange(sum(COUNTS)).view(-1, 1, 1, 1) + 100 * torch.arange(channels).view(1, -1, 1, 1)
    return numbers.expand(-1, -1, size, size).to(torch.uint8).contiguous()


def numbers(store: ImageStore, classes: list[list[int]], members: list[list[list[int]]]) -> list[list[int]]:
    """Which images were gathered."""
    return store.gather(np.array(classes), np.array(members))[:, :, 0, 0, 0].tolist()


def test_classes_may_have_any_number_of_images():
    store = ImageStore.of_rows(pictures(), COUNTS, NAMES)
    assert (len(store), store.example_shape) == (3, (1, 2, 2))
    # The classes start at rows 0, 3 and 8. Two tasks of two classes with two images each, class after class.
    gathered = numbers(store, [[0, 1], [2, 1]], [[[0, 2], [4, 0]], [[3, 0], [1, 1]]])
    assert gathered == [[0, 2, 3 + 4, 3 + 0], [8 + 3, 8 + 0, 3 + 1, 3 + 1]]


def test_a_store_is_made_of_classes_by_name_as_of_rows():
    by_name = ImageStore.of_classes(dict(zip(NAMES, pictures().split(COUNTS))))
    by_row = ImageStore.of_rows(pictures(), COUNTS, NAMES)
    assert by_name.names == by_row.names == tuple(NAMES)
    assert by_name.counts.tolist() == by_row.counts.tolist() == COUNTS
    assert torch.equal(by_name.images, by_row.images)


def test_images_in_colour_keep_their_channels_apart():
    store = ImageStore.of_rows(pictures(channels=3, size=4), COUNTS, NAMES)
    (images,) = store.gather(np.array([[1]]), np.array([[[0, 4]]]))
    assert images.shape == (2, 3, 4, 4)
    assert images[..., 0, 0].tolist() == [[3, 103, 203], [7, 107, 207]]


def test_images_mapped_from_a_file_are_the_same(tmp_path):
    pixels = torch.randint(256, (sum(COUNTS), 3, 4, 4), dtype=torch.uint8)
    file = tmp_path / "images.npy"
    writing = np.lib.format.open_memmap(file, "w+", np.uint8, tuple(pixels.shape))
    writing[:] = pixels.numpy()
    writing.flush()
    mapped = torch.from_numpy(np.load(file, mmap_mode="r+"))
    options = {"split": "train", "ways": 2, "shots": 1, "queries": 2, "length": 5}
    one, other = (
        ImageEpisodes(ImageStore.of_rows(images, COUNTS, NAMES).rotated(), **options).__getitems__(range(5))
        for images in (pixels, mapped)
    )
    assert torch.equal(one.support.x, other.support.x)
    assert torch.equal(one.query.x, other.query.x)
    assert torch.equal(torch.from_numpy(np.load(file)), pixels)  # rotating wrote nothing into the file


def test_selected_classes_come_in_the_order_given_and_copy_nothing():
    store = ImageStore.of_rows(pictures(), COUNTS, NAMES)
    some = store.select([2, 0])
    assert some.names == ("latin/a", "greek/alpha")
    assert some.counts.tolist() == [4, 3]
    assert numbers(some, [[0, 1]], [[[0, 3], [0, 2]]]) == [[8, 11, 0, 2]]
    assert some.images.data_ptr() == store.rotated().images.data_ptr() == store.images.data_ptr()
    assert len(store.select([])) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_rotations_are_new_classes_behind_the_others(channels):
    images = torch.randint(256, (sum(COUNTS), channels, 5, 5), dtype=torch.uint8)
    store = ImageStore.of_rows(images, COUNTS, NAMES).rotated()
    assert len(store) == 12
    assert store.counts.tolist() == COUNTS * 4
    assert store.names == tuple(NAMES * 4)
    members = np.array([[[0, 1, 2]] * 3])  # three images of each class, in one task
    expected = torch.cat([images[start : start + 3] for start in (0, 3, 8)])
    for quarters in range(4):
        gathered = store.gather(np.arange(3)[None] + 3 * quarters, members)
        assert torch.equal(gathered[0], expected.rot90(quarters, dims=(-2, -1)))


def test_a_rotation_by_hand():
    store = ImageStore.of_rows(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), [1], ["a"]).rotated()
    turned = store.gather(np.array([[0, 1, 2, 3]]), np.zeros((1, 4, 1), dtype=int))
    assert turned[0].flatten(1).tolist() == [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]]


def test_a_mirror_image_by_hand_and_its_rotations():
    store = ImageStore.of_rows(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), [1], ["a"]).rotated().mirrored()
    images = store.gather(np.arange(8)[None], np.zeros((1, 8, 1), dtype=int))[0].flatten(1).tolist()
    assert images[4:] == [[2, 1, 4, 3], [1, 3, 2, 4], [3, 4, 1, 2], [4, 2, 3, 1]]
    assert len({tuple(image) for image in images}) == 8  # no two changes of a square are the same
    assert list(store.groups()) == [
        start + change for start in ("", " mirrored") for change in ("", " turned 90", " turned 180", " turned 270")
    ]


def test_a_rotation_of_images_that_are_not_square_is_refused():
    store = ImageStore.of_rows(torch.zeros(1, 1, 2, 3, dtype=torch.uint8), [1], ["a"])
    with pytest.raises(FewShotError, match="images of 2 x 3 cannot be rotated by 90 degrees: set rotations to false"):
        store.rotated()


def test_groups_are_what_the_names_say_and_turned_ones_are_their_own():
    store = ImageStore.of_rows(pictures(), COUNTS, NAMES)
    assert {name: classes.tolist() for name, classes in store.groups().items()} == {"greek": [0, 1], "latin": [2]}
    turned = store.select([0, 1]).rotated().groups()
    assert {name: classes.tolist() for name, classes in turned.items()} == {
        "greek": [0, 1],
        "greek turned 90": [2, 3],
        "greek turned 180": [4, 5],
        "greek turned 270": [6, 7],
    }


def test_names_without_groups_are_one_group():
    store = ImageStore.of_rows(pictures(), COUNTS, ["a", "b", "c"])
    assert [classes.tolist() for classes in store.groups().values()] == [[0, 1, 2]]


def test_numbers_that_do_not_go_together_are_refused():
    with pytest.raises(FewShotError, match="12 images, but the classes have 11"):
        ImageStore.of_rows(pictures(), [3, 5, 3], NAMES)
    with pytest.raises(FewShotError, match="2 names for 3 classes of images"):
        ImageStore.of_rows(pictures(), COUNTS, NAMES[:2])


@pytest.mark.parametrize("images", [torch.zeros(12, 1, 2, 2), torch.zeros(12, 2, 2, dtype=torch.uint8)])
def test_images_of_another_kind_are_refused_with_their_shape(images):
    with pytest.raises(FewShotError, match=r"images must be uint8 \[M, C, H, W\], not torch\.\w+ \[12,"):
        ImageStore.of_rows(images, COUNTS, NAMES)
