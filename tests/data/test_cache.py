"""The cache of decoded images: what it gives back is what was put in, or it is made again."""

import json
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import store

from fewshot.data import ImageStore, cache
from fewshot.data.cache import Kept, Notes, cached
from fewshot.errors import FewShotError

IMAGES = store(classes=3, images=4, size=5)


def make(notes: Notes) -> Iterator[tuple[str, np.ndarray]]:
    """One image after another, and a note when the last one has come."""
    for name, images in IMAGES.parts():
        for image in images:
            yield name, image[None]
    notes["made"] = ["with care"]


def never(notes: Notes) -> Iterator[tuple[str, np.ndarray]]:
    pytest.fail("made again")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A cache that holds the images."""
    cached(tmp_path / "it.images", "key", make)
    return tmp_path / "it.images"


def in_a_new_process(file: Path, make=make, key: str = "key") -> Kept:
    cache._in_memory.clear()
    return cached(file, key, make)


def same(one: ImageStore, other: ImageStore) -> bool:
    parts = [(images.names, images.counts.tolist(), images.starts.tolist()) for images in (one, other)]
    return parts[0] == parts[1] and torch.equal(one.images, other.images)


def rewritten(file: Path, **changes: object) -> None:
    """Gives a cache's index other fields, ``None`` for none, and a checksum that fits."""
    pixels = IMAGES.images.numpy().tobytes()
    index = json.loads(file.read_bytes()[len(pixels) : -16])
    line = json.dumps({name: value for name, value in {**index, **changes}.items() if value is not None}).encode()
    line += b"%08x" % len(line)
    file.write_bytes(pixels + line + b"%08x" % zlib.crc32(pixels + line))


def test_it_serves_what_was_put_in(file):
    kept = in_a_new_process(file, never)
    assert same(kept.store, IMAGES)
    assert kept.notes == {"made": ["with care"]}


def test_the_images_are_the_beginning_of_the_file_and_cannot_be_changed_through_the_store(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that are read-only
        images = in_a_new_process(file, never).store.images
    pixels = IMAGES.images.numpy().tobytes()
    assert file.read_bytes().startswith(pixels)
    images += 1
    assert file.read_bytes().startswith(pixels)


@pytest.mark.filterwarnings("ignore:The cache .* cannot be used")
def test_no_flipped_byte_changes_an_image(file, monkeypatch):
    monkeypatch.setattr(cache, "_write", lambda *_: Kept(IMAGES, {}))  # the next flip is of the same file
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    # What is behind the images says how they lie: there, every byte.
    for place in {*range(IMAGES.images.numel(), len(whole)), *rng.choice(len(whole), 200).tolist()}:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        assert in_a_new_process(file).store is IMAGES, place
    for end in range(0, len(whole), 7):
        file.write_bytes(whole[:end])
        assert in_a_new_process(file).store is IMAGES, end


def test_another_key_is_no_damage_and_nothing_is_said(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(pytest.fail.Exception, match="made again"):
            in_a_new_process(file, never, key="new")
        in_a_new_process(file, key="new")
        assert same(in_a_new_process(file, never, key="new").store, IMAGES)


def test_what_is_of_another_kind_is_made_again_and_said_in_a_line(file):
    rewritten(file)
    assert same(in_a_new_process(file, never).store, IMAGES)
    others = {
        "key": [None],
        "shape": [None, [12, 1, 5, 4], [13, 1, 5, 5], [300], [-12, 1, -5, 5], ["12", 1, 5, 5], "many"],
        "counts": [None, [5, 4, 4], [12], "four", [[4, 4, 4]]],
        "names": [None, ["a"], 3],
        "notes": [None],
    }
    for name, values in others.items():
        for value in values:
            rewritten(file, **{name: value})
            with pytest.warns(UserWarning, match=r"^The cache .*it.images cannot be used \(.+\); its .* made again.$"):
                assert same(in_a_new_process(file).store, IMAGES)
            assert same(in_a_new_process(file, never).store, IMAGES)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_write_that_is_cut_off_leaves_the_old_file_and_nothing_else(file, monkeypatch, error):
    def cut_off(_):
        raise error

    old = file.read_bytes()
    monkeypatch.setattr(os, "fsync", cut_off)
    with pytest.raises(error):
        in_a_new_process(file, key="new")
    assert [entry.name for entry in file.parent.iterdir()] == ["it.images"]
    assert file.read_bytes() == old


def test_a_disk_that_is_full_costs_a_warning_as_long_as_the_images_fit_into_memory(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match=r"cannot be kept in .*it.images \(.*No space left on device\); the next"):
            kept = cached(tmp_path / "it.images", "key", make, size=300)
    assert same(kept.store, IMAGES)
    assert kept.notes == {"made": ["with care"]}
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    message = r"^2\.0 GB of decoded images cannot be kept in .*other.images \(.*No space left.*\): make room there, or"
    with pytest.raises(FewShotError, match=message):  # before one of them is decoded
        cached(tmp_path / "other.images", "key", never, size=2 * 10**9)


def test_what_makes_the_images_ends_with_an_error_even_if_somebody_keeps_it(file, monkeypatch):
    def cut_off(*_):
        raise KeyboardInterrupt

    def make_and_clear_up(notes: Notes) -> Iterator[tuple[str, np.ndarray]]:
        try:
            yield from make(notes)
        finally:
            cleared_up.append(True)

    cleared_up = []
    monkeypatch.setattr(np, "ascontiguousarray", cut_off)
    with pytest.raises(KeyboardInterrupt) as kept:
        in_a_new_process(file, make_and_clear_up, key="new")
    assert kept.traceback
    assert cleared_up


def test_two_processes_at_once_each_get_their_own_images(tmp_path):
    file, others = tmp_path / "it.images", store(classes=2, images=3, size=4)

    def make_slowly(notes: Notes) -> Iterator[tuple[str, np.ndarray]]:
        yield from make(notes)
        pid = os.getpid()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "getpid", lambda: pid + 1)
            assert same(cached(file, "other", lambda _: others.parts()).store, others)

    assert same(cached(file, "key", make_slowly).store, IMAGES)
    assert same(in_a_new_process(file, never).store, IMAGES)  # the one that ended last
    assert [entry.name for entry in tmp_path.iterdir()] == ["it.images"]


def test_what_a_killed_process_left_is_deleted_when_it_is_old(tmp_path):
    old, young, foreign = (tmp_path / name for name in (".it.images.1.part", ".it.images.2.part", ".other.3.part"))
    for part in (old, young, foreign):
        part.touch()
    long_ago = time.time() - 2 * cache.ABANDONED
    os.utime(old, (long_ago, long_ago)), os.utime(foreign, (long_ago, long_ago))
    cached(tmp_path / "it.images", "key", make)
    assert [part.exists() for part in (old, young, foreign)] == [False, True, True]
