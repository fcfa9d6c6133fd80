"""A user's own pictures: folders of classes become episodes, and odd folders get a line that helps."""

import os
import shutil
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import REPOSITORY, best, no_thread_stays, reports
from PIL import Image

from fewshot.cli import main
from fewshot.data import FolderDataModule, GlyphsDataModule, OmniglotDataModule, cache, folder_files
from fewshot.data.pictures import UnreadablePictureError
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError

REAL = Path(os.environ.get("FEWSHOT_DATA", "/nowhere"), "grocery", "images")
SMALL = {"ways": 2, "queries": 1, "image_size": 8, "meta_batch_size": 2}


def paint(folder: Path, count: int = 3, names: Sequence[str] = ()) -> None:
    """Pictures in a folder, each in a colour of its own: red, green and blue are of its path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or [f"{number}.png" for number in range(count)]:
        shade = np.frombuffer(os.fsencode(folder / name), np.uint8).astype(np.uint64)
        shade = [int((shade * (np.arange(len(shade)) + step) ** 2).sum() % 256) for step in (1, 2, 3)]
        Image.new("RGB", (12, 9), tuple(shade)).save(folder / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten classes of three to twelve pictures, in two groups, with names in several scripts."""
    folder = tmp_path / "mine"
    for number, name in enumerate(["a", "b", "Ünïcode", "two words", "猫"]):
        paint(folder / "one" / name, 3 + number)
        paint(folder / "two" / name, 8 + number)
    return folder


def folders(root: Path, **options: object) -> FolderDataModule:
    """The data in a new process."""
    cache._in_memory.clear()
    return FolderDataModule(root=str(root), **{**SMALL, "cache_dir": str(root.parent / "cache"), **options})


def ready(root: Path, stage: str = "fit", **options: object) -> FolderDataModule:
    data = folders(root, **options)
    data.prepare_data()
    data.setup(stage)
    return data


def refusal(root: Path, **options: object) -> str:
    """The line that says what is wrong."""
    with pytest.raises(FewShotError) as refused:
        ready(root, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def warned(root: Path, **options: object) -> tuple[FolderDataModule, list[str]]:
    """The data, and what was told of them."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        data = ready(root, **options)
    return data, sorted({str(one.message) for one in told if "made again" not in str(one.message)})


SPLIT = {"val_share": 0.2, "test_share": 0.3}


# --- classes and splits


def test_folders_become_classes_of_any_number_of_pictures(root):
    data = ready(root, **SPLIT)
    store = data.load()
    assert store.names[:5] == ("one/a", "one/b", "one/two words", "one/Ünïcode", "one/猫")
    assert store.counts.tolist()[:5] == [3, 4, 6, 5, 7]
    assert store.example_shape == data.spec.example_shape == (3, 8, 8)
    assert [*store.groups()] == ["one", "two"]
    with Image.open(root / "two" / "猫" / "10.png") as picture:
        row = store.starts[9] + ["0", "1", "10", "11", "2", "3"].index("10")
        assert store.images[row, :, 4, 4].tolist() == [*picture.getpixel((0, 0))]
        assert np.array_equal(store.images[row], data.example(picture))
    assert [len(data.classes[split]) for split in SPLITS] == [5, 2, 3]
    assert data.split_name() == "folders/random"
    assert data.digest == ready(root, **SPLIT).digest != ready(root, **SPLIT, split_seed=1).digest
    episode = data.on_after_batch_transfer(data.dataset("test").__getitems__([0, 1]), 0)
    assert episode.query.x.shape == (2, 2, 3, 8, 8)
    assert ready(root, **SPLIT, channels=1).spec.example_shape == (1, 8, 8)


def test_folders_of_splits_are_the_splits(root, tmp_path):
    for number, split in enumerate(SPLITS):
        for name in "abc":
            paint(tmp_path / "split" / split / f"{name}{number}")
    data = ready(tmp_path / "split")
    assert data.classes == {split: [f"{name}{number}" for name in "abc"] for number, split in enumerate(SPLITS)}
    assert data.split_name() == "folders/folders"
    (tmp_path / "split" / "validation").symlink_to(root)
    _, told = warned(tmp_path / "split")
    assert len(told) == 1
    assert "Left out, as they are not in train, val or test: the pictures in" in told[0]
    assert "validation/one/a" in told[0]

    shutil.rmtree(tmp_path / "split" / "train")
    shutil.rmtree(tmp_path / "split" / "val")
    assert ready(tmp_path / "split", "test", split="folders").splits == ("test",)
    assert "has none of the folders train, val and test" in refusal(root, split="folders")


def test_a_class_of_several_splits_is_refused_or_put_together(tmp_path):
    for split in SPLITS:
        for name in "abcdefghij":
            paint(tmp_path / "usual" / split / name, names=[f"{split}.png"])
    message = refusal(tmp_path / "usual")
    assert "10 classes are in several of the folders train, val and test of" in message
    assert "a, b, c, d, e and 5 more" in message
    assert message.endswith("by --data.split random")
    data = ready(tmp_path / "usual", split="random", **SPLIT)
    assert data.load().names == tuple("abcdefghij")
    assert set(data.load().counts) == {3}


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus", "car", "tram", "bike", "foot"):
        paint(tmp_path / "vehicles" / name)
    assert "train" in ready(tmp_path / "vehicles", "test", test_share=0.5).load().names


def test_lists_of_classes_are_the_splits(root, tmp_path):
    lists = {"train": "one/two words\none/猫\n", "val": "one/a\n\n  one/b  \n", "test": "two/a\r\ntwo/Ünïcode"}
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    data = ready(root, split="file", split_dir=str(tmp_path))
    assert data.classes == {
        "train": ["one/two words", "one/猫"],
        "val": ["one/a", "one/b"],
        "test": ["two/a", "two/Ünïcode"],
    }
    (tmp_path / "val.txt").write_text("one/zebra")
    assert f"val.txt names 'one/zebra', which is no class of {root}" in refusal(
        root, split="file", split_dir=str(tmp_path)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "file"}, "--data.split file and --data.split_dir FOLDER go together"),
        ({"split": "lake"}, "split must be one of folders, random, file, not lake"),
        ({"channels": 2}, "channels must be 3, for colour, or 1, for gray, not 2"),
        ({"image_size": 0}, "image_size must be at least 1, not 0"),
        ({"val_share": 0.5, "test_share": 0.5}, "val_share 0.5 and test_share 0.5 leave no classes for training"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, message):
    with pytest.raises(FewShotError, match=f"^{message}$"):
        FolderDataModule(**{"root": "/nowhere", **options})


def test_without_a_folder_there_are_no_pictures_but_any_one_can_be_read():
    data = FolderDataModule(image_size=8)
    assert data.example(Image.new("RGB", (20, 10), "red")).shape == (3, 8, 8)
    with pytest.raises(FewShotError, match=r"^--data.root is missing: name the folder that holds a folder of pictures"):
        data.prepare_data()


# --- odd folders


def test_no_classes_and_one_class_are_refused(tmp_path):
    assert refusal(tmp_path / "none") == f"--data.root {tmp_path}/none: there is no such folder"
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    assert refusal(tmp_path / "mine").startswith(f"{tmp_path}/mine holds no pictures: put those of each class into a")
    paint(tmp_path / "mine", 4)
    assert "holds no folders of pictures, but 4 pictures side by side: put those of" in refusal(tmp_path / "mine")
    paint(tmp_path / "mine" / "cats")
    assert "holds one class, cats: to tell classes apart takes two or more" in refusal(tmp_path / "mine")
    paint(tmp_path / "mine" / "dogs")
    assert "2-way episodes need 2 classes, but the train split has 1" in refusal(tmp_path / "mine")


def test_unreadable_files_are_refused_by_name_or_left_out_and_told(root, tmp_path):
    (root / "one" / "a" / "1.png").write_bytes(b"")
    whole = (root / "one" / "b" / "0.png").read_bytes()
    (root / "one" / "b" / "0.png").write_bytes(whole[:45])
    (root / "two" / "a" / "z.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "two" / "a" / ".DS_Store").write_bytes(b"hidden")
    paint(root / "one" / "c", 1)
    (root / "one" / "c" / "0.png").write_bytes(b"")  # its only one
    for _ in range(2):  # when they are decoded, and when they come from the cache
        message = refusal(root, **SPLIT)
        assert f"4 of the 77 pictures in {root} cannot be read: one/a/1.png (it is empty, damaged or" in message
        assert "one/b/0.png (image file is truncated" in message
        assert "two/a/z.jpg (No such file or directory)" in message
        assert message.endswith("leave them out by --data.skip_unreadable true")
    data, told = warned(root, skip_unreadable=True, **SPLIT)
    assert len(told) == 1
    assert "4 of the 77 pictures" in told[0]
    assert told[0].endswith("They are left out.")
    assert dict(zip(data.load().names, data.load().counts))["one/a"] == 2
    assert "one/c" not in data.load().names

    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    others = {*threading.enumerate()}
    with pytest.raises(FewShotError, match="none of the 77 pictures in") as kept:
        ready(root, skip_unreadable=True)
    assert kept.traceback
    no_thread_stays(others)  # of the progress bar


def test_what_could_not_be_read_once_is_tried_again(root, monkeypatch):
    really = folder_files.read_picture

    def read(file: Path, *args: object) -> np.ndarray:
        if file.name == "0.png":
            raise UnreadablePictureError(file, "Permission denied")
        return really(file, *args)

    with monkeypatch.context() as patch:
        patch.setattr(folder_files, "read_picture", read)
        assert "10 of the 75 pictures" in refusal(root)
    assert len(folders(root).load().images) == 75


def test_a_name_that_is_no_text_does_no_harm(root):
    paint(Path(os.fsdecode(os.fsencode(root) + b"/one/caf\xe9")), 4)
    data = ready(root, **SPLIT)
    assert len(data.digest) == 16
    assert "one/caf\udce9" in data.load().names


def test_a_training_without_validation_needs_no_classes_for_it(root, tmp_path):
    main(["fit", "--model=ProtoNetModule", "--model.network=Conv4", "--model.network.channels=4",
          "--model.network.running_statistics=true", "--data=FolderDataModule", f"--data.root={root}",
          f"--data.cache_dir={tmp_path}/cache", "--data.ways=2", "--data.shots=1", "--data.queries=1",
          "--data.image_size=16", "--data.channels=1", "--data.meta_batch_size=2", "--data.val_share=0",
          "--data.test_share=0.3", "--trainer.limit_val_batches=0", "--trainer.max_steps=1", "--name=mine",
          f"--trainer.default_root_dir={tmp_path}"])  # fmt: skip
    assert best(tmp_path, "mine").with_name("last.ckpt").exists()


def test_small_classes_are_refused_by_name_or_left_out_and_told(root):
    assert "classes of the train split have fewer, one/" in refusal(root, shots=5, **SPLIT)
    data, told = warned(root, shots=5, skip_small=True, test_shots=1, test_share=0.2, val_share=0.2)
    everything = ready(root, "test", test_share=0.2, val_share=0.2)
    small = [name for name in everything.classes["train"] if len([*(root / name).iterdir()]) < 6]
    assert small
    assert data.classes["train"] == [name for name in everything.classes["train"] if name not in small]
    assert data.classes["test"] == everything.classes["test"]  # no class moves to another split
    assert len(told) == 1
    assert f"{len(small)} of the 10 classes in {root} have fewer than the 6 images of shots + queries" in told[0]
    assert all(name in told[0] for name in small)


def test_too_few_classes_are_refused_with_what_gives_a_split_more(root, tmp_path):
    assert refusal(root, ways=3, val_share=0.2) == (
        "3-way episodes need 3 classes, but the val split has 2: "
        "lower --data.test_ways, or raise --data.val_share (0.2)"
    )
    assert refusal(root, ways=3, val_share=0.3, test_share=0.1).endswith("_ways, or raise --data.test_share (0.1)")
    assert refusal(root, ways=9).endswith("lower --data.ways, --data.val_share (0.1) or --data.test_share (0.2)")
    for split, classes in {"train": "abc", "val": "de", "test": "fgh"}.items():
        for name in classes:
            paint(tmp_path / "parts" / split / name)
    assert refusal(tmp_path / "parts", ways=3).endswith(
        f"lower --data.test_ways, or put more classes into {tmp_path}/parts/val"
    )


def test_a_picture_in_train_and_test_is_told(tmp_path):
    for number, split in enumerate(SPLITS):
        for name in "ab":
            paint(tmp_path / "split" / split / f"{name}{number}")
    assert warned(tmp_path / "split")[1] == []
    copy = tmp_path / "split" / "test" / "a2" / "copy.bmp"  # in another format
    with Image.open(tmp_path / "split" / "train" / "b0" / "1.png") as picture:
        picture.save(copy)
    for _ in range(2):
        assert warned(tmp_path / "split")[1] == [
            "1 pictures of the test split are in the train split, too: test/a2/copy.bmp = train/b0/1.png."
        ]


# --- the cache


def test_pictures_are_decoded_once_until_one_of_them_changes(root, monkeypatch):
    first = folders(root).load()
    decoded = []
    really = folder_files.read_picture

    def read(*args: object) -> np.ndarray:
        decoded.append(args)
        return really(*args)

    monkeypatch.setattr(folder_files, "read_picture", read)
    again = folders(root).load()
    assert not decoded
    assert torch.equal(again.images, first.images)
    assert again.names == first.names
    changes = [
        lambda: paint(root / "one" / "new"),
        lambda: os.utime(root / "one" / "a" / "0.png", (1, 1)),
        lambda: (root / "one" / "a" / "0.png").unlink(),
        lambda: (root / "one" / "a").rename(root / "one" / "z"),
    ]
    for change in changes:
        change()
        decoded.clear()
        changed = folders(root).load()
        assert len(decoded) == len([*root.rglob("*.png")]) == len(changed.images)
    folders(root, image_size=6).load()  # has a file of its own
    assert len([*(root.parent / "cache").iterdir()]) == 2


def test_pictures_of_some_folder_elsewhere_do_not_come_from_this_cache(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    assert torch.equal(folders(root).load().images, folders(tmp_path / "copy").load().images)
    assert len([*(tmp_path / "cache").iterdir()]) == 2


# --- from the command line


def test_a_learner_is_trained_and_tested_on_ones_own_folders(root, tmp_path, fails):
    place = [f"--trainer.default_root_dir={tmp_path}", "--trainer.enable_progress_bar=false"]
    own = [f"--data.root={root}", f"--data.cache_dir={tmp_path}/cache"]
    sizes = ["--data.ways=2", "--data.shots=1", "--data.queries=1", "--data.image_size=16",
             "--data.meta_batch_size=2", "--data.val_share=0.2", "--data.test_share=0.3",
             "--data.val_episodes=4", "--data.test_episodes=4"]  # fmt: skip
    config = f"--config={REPOSITORY / 'configs' / 'folders_protonet.yaml'}"
    assert fails("fit", config, *place).startswith("--data.root is missing: name the folder")
    main(["fit", config, *place, *own, *sizes, "--model.network.channels=4", "--trainer.max_steps=2",
          "--trainer.val_check_interval=1"])  # fmt: skip
    checkpoint = best(tmp_path, "folders_protonet")
    main(["test", f"--ckpt_path={checkpoint}", *place, *own])
    (report,) = reports(tmp_path)
    assert (report["split"], report["episodes"]) == ("folders/random", 4)
    message = fails("test", f"--ckpt_path={checkpoint}", *place, *own, "--data.split_seed=1")
    assert "of the 3 test classes of split folders/random were trained on" in message


@pytest.mark.skipif(not REAL.exists(), reason="set FEWSHOT_DATA to a folder that holds grocery/images")
def test_photographs_of_groceries(tmp_path):
    some = tmp_path / "some"
    for folder in sorted(REAL.iterdir())[:10]:
        (some / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:8]:
            (some / folder.name / file.name).symlink_to(file)
    data = ready(some, image_size=84, val_share=0.2)
    assert data.load().images.shape == (80, 3, 84, 84)
    assert 60 < data.load().images.float().mean() < 200
    assert data.dataset("train").__getitems__([0]).query.x.shape == (1, 2, 3, 84, 84)


# --- pictures as examples of other data


@pytest.mark.parametrize("data", [GlyphsDataModule, OmniglotDataModule])
def test_a_drawing_of_any_size_and_colour_becomes_ink_on_black(data):
    sheet = np.full((60, 90, 3), 250, dtype=np.uint8)
    sheet[20:40, 35:55] = (10, 10, 80)
    for pixels in (sheet, 255 - sheet):
        drawing = data().example(Image.fromarray(pixels))
        assert (drawing.shape, drawing.dtype) == ((1, 28, 28), np.uint8)
        assert drawing[0, 14, 13] > 150
        assert drawing[0, [0, 0, 27, 27], [0, 27, 0, 27]].max() < 10
    opaque = Image.fromarray(sheet).convert("RGBA")
    assert np.array_equal(data().example(opaque), data().example(Image.fromarray(sheet)))
