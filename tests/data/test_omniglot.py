"""Data sets: decoding, cache, splits, rotations, and what is said of files that are not as they should be."""

import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import utils as torchvision_utils

from fewshot.data import GlyphsDataModule, OmniglotDataModule, archives
from fewshot.data.images import with_rotations
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError


def omniglot_module(root: Path, **options: object) -> OmniglotDataModule:
    data = OmniglotDataModule(root=str(root), **options)
    data.prepare_data()
    data.setup("fit")
    return data


# --- decoding and cache


def test_real_omniglot_is_decoded_with_ink_bright(real_omniglot):
    data = omniglot_module(real_omniglot)
    assert [len(data.classes[split]) for split in SPLITS] == [1100, 100, 423]
    images, names = data.load()
    assert images.shape == (1623, 20, 28, 28)
    assert images.dtype == torch.uint8
    assert names[0] == "images_background/Alphabet_of_the_Magi/character01"
    assert len({name.split("/")[1] for name in names}) == 50
    # Ink is the smaller part of every drawing.
    means = images.float().mean((-1, -2)) / 255
    assert 0 < means.min() < means.mean() < 0.2


def test_zipped_and_unpacked_archives_are_the_same(fake_omniglot, tmp_path):
    for archive in archives.ARCHIVES:
        with zipfile.ZipFile(fake_omniglot / f"{archive}.zip") as file:
            file.extractall(tmp_path)
    zipped = archives.load_omniglot(fake_omniglot, tmp_path / "one.npz")
    unpacked = archives.load_omniglot(tmp_path, tmp_path / "other.npz")
    assert zipped.names == unpacked.names
    assert torch.equal(zipped.images, unpacked.images)


def test_the_cache_serves_until_the_files_or_the_cache_change(fake_omniglot, tmp_path, monkeypatch):
    root, cache = tmp_path / "omniglot", tmp_path / "cache" / "omniglot.npz"
    shutil.copytree(fake_omniglot, root)
    first = archives.load_omniglot(root, cache)
    decoded = []
    monkeypatch.setattr(archives, "decode", lambda sources: decoded.append(sources) or first)

    again = archives.load_omniglot(root, cache)
    assert not decoded
    assert torch.equal(again.images, first.images)
    assert again.names == first.names

    (root / "images_background.zip").touch()
    archives.load_omniglot(root, cache)
    assert len(decoded) == 1

    content = bytearray(cache.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    for damaged in (bytes(content), bytes(content[:1000]), b"nonsense", b""):
        cache.write_bytes(damaged)
        with pytest.warns(UserWarning, match="cannot be used"):
            archives.load_omniglot(root, cache)
    assert len(decoded) == 5
    archives.load_omniglot(root, cache)  # it was written anew
    assert len(decoded) == 5
    assert sorted(file.name for file in cache.parent.iterdir()) == ["omniglot.npz"]


def test_a_cache_that_cannot_be_kept_costs_a_warning(fake_omniglot, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    decoded = archives.load_omniglot(fake_omniglot, tmp_path / "ok.npz")
    monkeypatch.setattr(archives, "decode", lambda sources: decoded)
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert archives.load_omniglot(fake_omniglot, tmp_path / "file" / "omniglot.npz") is decoded


# --- files that are not as they should be


def test_missing_archives_are_downloaded_checked_and_put_in_place_whole(fake_omniglot, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(fake_omniglot)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(archives, "URL", f"http://127.0.0.1:{server.server_port}/")
    sums = {name: torchvision_utils.calculate_md5(fake_omniglot / f"{name}.zip") for name in archives.ARCHIVES}
    monkeypatch.setattr(archives, "ARCHIVES", sums)
    archives.download(tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [f"{name}.zip" for name in sums]

    monkeypatch.setattr(archives, "ARCHIVES", {**sums, "images_background": "0" * 32})
    with pytest.raises(FewShotError, match=r"neither in .* nor to be had"):
        archives.download(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    server.shutdown()


def test_without_archives_and_network_the_places_are_named(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(archives, "URL", "http://127.0.0.1:9/")  # nothing listens there
    message = fails("fit", "--config=configs/omniglot_maml.yaml", f"--data.root={tmp_path}", "--trainer.max_steps=1")
    for part in (str(tmp_path), "http://127.0.0.1:9/", "--data.root", "FEWSHOT_DATA", "configs/glyphs_maml.yaml"):
        assert part in message
    assert not list(tmp_path.iterdir())


def broken(fake_omniglot: Path, tmp_path: Path, content: bytes) -> Path:
    shutil.copytree(fake_omniglot, tmp_path / "omniglot")
    (tmp_path / "omniglot" / "images_evaluation.zip").write_bytes(content)
    return tmp_path / "omniglot"


def test_a_truncated_archive_is_named(fake_omniglot, tmp_path):
    content = (fake_omniglot / "images_evaluation.zip").read_bytes()
    with pytest.raises(FewShotError, match=r"images_evaluation.zip is damaged or no zip file"):
        omniglot_module(broken(fake_omniglot, tmp_path, content[: len(content) // 2]))


def test_a_foreign_archive_is_named(fake_omniglot, tmp_path):
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as file:
        file.writestr("holiday/beach.png", b"")
    with pytest.raises(FewShotError, match="hold 964 characters, not Omniglot's 1623"):
        omniglot_module(broken(fake_omniglot, tmp_path, (tmp_path / "foreign.zip").read_bytes()))


def test_a_missing_drawing_and_a_damaged_one_are_named(fake_omniglot, tmp_path):
    for archive in archives.ARCHIVES:
        with zipfile.ZipFile(fake_omniglot / f"{archive}.zip") as file:
            file.extractall(tmp_path)
    drawing = min((tmp_path / "images_evaluation").glob("*/*/*.png"))
    drawing.write_bytes(b"\x89PNG nonsense")
    with pytest.raises(FewShotError, match="a drawing of Omniglot is damaged"):
        archives.decode(archives.find(tmp_path))
    drawing.unlink()
    with pytest.raises(FewShotError, match="has 19 drawings, not 20"):
        archives.decode(archives.find(tmp_path))


# --- splits


@pytest.mark.parametrize("kind", ["random", "lake"])
def test_splits_are_disjoint_and_complete(fake_omniglot, kind):
    data = omniglot_module(fake_omniglot, split=kind)
    classes = [set(data.classes[split]) for split in SPLITS]
    assert len(set.union(*classes)) == sum(map(len, classes)) == 1623
    assert data.digest == omniglot_module(fake_omniglot, split=kind).digest
    assert data.digest != omniglot_module(fake_omniglot, split=kind, split_seed=1).digest


def test_the_lake_split_goes_by_alphabets(fake_omniglot):
    data = omniglot_module(fake_omniglot, split="lake")
    alphabets = {split: {name.rpartition("/")[0] for name in data.classes[split]} for split in SPLITS}
    assert [len(alphabets[split]) for split in SPLITS] == [25, 5, 20]
    assert all(alphabet.startswith("images_evaluation") for alphabet in alphabets["test"])
    assert not alphabets["train"] & alphabets["val"]


def test_the_file_split_reads_lists_and_refuses_wrong_ones(fake_omniglot, tmp_path):
    lists = {"train": "background00/character01\nbackground01/character01\n", "val": "background02/character01"}
    lists["test"] = "evaluation00/character01 evaluation01/character02"
    for part, content in lists.items():
        (tmp_path / f"{part}.txt").write_text(content)
    data = omniglot_module(fake_omniglot, split="file", split_dir=str(tmp_path), ways=1)
    assert data.classes["val"] == ["images_background/background02/character01"]
    assert [len(data.classes[split]) for split in SPLITS] == [2, 1, 2]

    for content, message in (
        ("background02/character99", "no ALPHABET/characterNN of Omniglot"),
        ("background00/character01", "which train.txt names already"),
        ("", "is empty"),
    ):
        (tmp_path / "val.txt").write_text(content)
        with pytest.raises(FewShotError, match=message):
            omniglot_module(fake_omniglot, split="file", split_dir=str(tmp_path))
    (tmp_path / "val.txt").unlink()
    with pytest.raises(FewShotError, match=r"val.txt cannot be read"):
        omniglot_module(fake_omniglot, split="file", split_dir=str(tmp_path))
    with pytest.raises(FewShotError, match="go together"):
        OmniglotDataModule(split="file")


def test_vinyals_split_is_read(real_omniglot):
    folder = real_omniglot / "splits" / "vinyals"
    if not folder.exists():
        pytest.skip("the lists are not beside the archives")
    data = omniglot_module(real_omniglot, split="file", split_dir=str(folder))
    assert [len(data.classes[split]) for split in SPLITS] == [1028, 172, 423]


# --- rotations, glyphs


def test_rotations_are_new_classes_in_training_alone(fake_omniglot):
    data = omniglot_module(fake_omniglot)
    assert [len(data.dataset(split).images) for split in SPLITS] == [4400, 100, 423]
    turned = with_rotations(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8))
    assert turned.flatten(1).tolist() == [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]]


def test_glyphs_look_like_omniglot():
    data = GlyphsDataModule()
    data.setup("fit")
    images, names = data.load()
    assert images.shape == (len(names), 20, 28, 28)
    assert images.dtype == torch.uint8
    assert len(set(names)) == len(names) > 1000
    assert not set(data.classes["train"]) & set(data.classes["test"])
    ink = images.float().mean((-1, -2)) / 255
    assert ink.min() > 0  # no drawing is empty
    assert 0.02 < ink.mean() < 0.2
    # Twenty drawings of a character differ, and are closer to one another than to those of other characters.
    flat = images[:200].flatten(2).float()
    assert (flat[:, 0] != flat[:, 1]).any(-1).all()
    within = (flat[:, 0] - flat[:, 1]).norm(dim=-1).mean()
    between = (flat[:, 0] - flat[:, 1].roll(100, 0)).norm(dim=-1).mean()
    assert within < between


def test_images_come_to_the_network_between_0_and_1(fake_omniglot):
    data = omniglot_module(fake_omniglot, meta_batch_size=2)
    episode = data.on_after_batch_transfer(data.dataset("val")[0], 0)
    assert episode.support.x.dtype == torch.float32
    assert (episode.support.x.min(), episode.support.x.max()) == (0, 1)


@pytest.mark.parametrize("option", ["ways", "shots", "queries", "meta_batch_size", "val_episodes", "test_episodes"])
def test_numbers_must_be_positive(option):
    with pytest.raises(FewShotError, match=f"{option} must be at least 1, not 0"):
        GlyphsDataModule(**{option: 0})


def test_the_same_seed_draws_the_same_tasks_for_every_algorithm():
    """Two data modules that differ in how they batch see the same stream."""
    one, other = GlyphsDataModule(meta_batch_size=4), GlyphsDataModule(meta_batch_size=2)
    for data in (one, other):
        data.setup("fit")
    four = one.dataset("train").__getitems__(range(4))
    twos = [other.dataset("train").__getitems__(range(start, start + 2)) for start in (0, 2)]
    assert np.array_equal(four.query.x, torch.cat([two.query.x for two in twos]))
