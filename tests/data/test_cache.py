"""The cache of decoded images: what it gives back is what was put in, or it is made again."""

import os

import numpy as np
import pytest
import torch
from helpers import store

from fewshot.data import ImageStore, cache
from fewshot.data.cache import cached

IMAGES = store(classes=3, images=4, size=5)


@pytest.fixture
def file(tmp_path):
    """A cache that holds the images."""
    cached(tmp_path / "images.npz", "key", lambda: IMAGES)
    return tmp_path / "images.npz"


def in_a_new_process(file, make=lambda: IMAGES, key: str = "key") -> ImageStore:
    cache._in_memory.clear()
    return cached(file, key, make)


def same(one: ImageStore, other: ImageStore) -> bool:
    parts = [(images.names, images.counts.tolist(), images.starts.tolist()) for images in (one, other)]
    return parts[0] == parts[1] and torch.equal(one.images, other.images)


def test_it_serves_what_was_put_in(file):
    assert same(in_a_new_process(file, lambda: pytest.fail("made again")), IMAGES)


@pytest.mark.filterwarnings("ignore:The cache .* cannot be used")
def test_no_flipped_byte_changes_an_image(file, monkeypatch):
    monkeypatch.setattr(cache, "_write", lambda *_: None)  # the next flip is of the same file
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    # What is before the images says how they lie: there, every byte.
    for place in {*range(whole.index(bytes(IMAGES.images.numpy()))), *rng.choice(len(whole), 200).tolist()}:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        assert same(in_a_new_process(file), IMAGES), place


def test_what_is_not_whole_or_of_another_kind_is_made_again_and_said_in_a_line(file):
    with np.load(file) as arrays:
        good = dict(arrays)
    others = {
        "checksum": [None, np.array("0" * 64), np.array(7), np.array([object()])],
        "key": [None, np.array("other")],
        "images": [None, good["images"][:, :, :4], good["images"].astype(np.float32), good["images"].view(np.int8)],
        "counts": [np.array([5, 4, 3]), np.array([12]), np.array("four"), np.array([[4, 4, 4]])],
        "names": [good["names"][::-1], np.array(["a"]), np.arange(3)],
    }
    for name, values in others.items():
        for value in values:
            content = {**good, name: value}
            np.savez(file, **{name: array for name, array in content.items() if array is not None})
            with pytest.warns(UserWarning, match=r"^The cache .*images.npz cannot be used \(.+\); its .* made again.$"):
                assert same(in_a_new_process(file), IMAGES)
            assert same(in_a_new_process(file, lambda: pytest.fail("not written anew")), IMAGES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_write_that_is_cut_off_leaves_the_old_file_and_nothing_else(file, monkeypatch, error):
    def cut_off(_):
        raise error

    old = file.read_bytes()
    monkeypatch.setattr(os, "fsync", cut_off)
    with pytest.warns(UserWarning, match="another version"), pytest.raises(error):
        in_a_new_process(file, key="new")
    assert [entry.name for entry in file.parent.iterdir()] == ["images.npz"]
    assert file.read_bytes() == old
