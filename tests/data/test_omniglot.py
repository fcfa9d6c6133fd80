"""Omniglot's splits. Most are of the names alone, which are Omniglot's in number and form."""

import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data import OmniglotDataModule
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError

NAMES = [
    f"images_{archive}/{archive}{number % alphabets:02}/character{number // alphabets + 1:02}"
    for archive, alphabets, characters in (("background", 30, 964), ("evaluation", 20, 659))
    for number in range(characters)
]


def classes(root: str = "/nowhere", **options: object) -> dict[str, list[str]]:
    """The names of the classes of each split."""
    split = OmniglotDataModule(root=root, **options).split_classes(NAMES)
    return {part: [NAMES[index] for index in members] for part, members in split.items()}


def alphabets(names: list[str]) -> set[str]:
    return {name.rpartition("/")[0] for name in names}


def loaded(root: Path, **options: object) -> OmniglotDataModule:
    data = OmniglotDataModule(root=str(root), **options)
    data.prepare_data()
    data.setup("fit")
    return data


def test_omniglot_is_served_with_ink_bright_and_rotated_in_training_alone(omniglot):
    data = loaded(omniglot, meta_batch_size=2)
    assert [len(data.classes[split]) for split in SPLITS] == [1100, 100, 423]
    assert [len(data.dataset(split).store) for split in SPLITS] == [4400, 100, 423]
    assert data.digest == loaded(omniglot, meta_batch_size=3).digest
    assert data.digest != loaded(omniglot, split_seed=1).digest != loaded(omniglot, split="lake").digest
    episode = data.on_after_batch_transfer(data.dataset("val")[0], 0)
    assert (episode.support.x.min(), episode.support.x.max()) == (0, 1)


def test_the_real_omniglot_is_as_published(real_omniglot):
    store = loaded(real_omniglot).load()
    assert (store.images.shape, set(store.counts.tolist())) == ((32460, 1, 28, 28), {20})
    assert store.names[0] == "images_background/Alphabet_of_the_Magi/character01"
    assert len(store.groups()) == 50  # alphabets
    # Ink is the smaller part of every drawing.
    means = store.images.float().mean((1, 2, 3)) / 255
    assert 0 < means.min() < means.mean() < 0.2

    # A picture of a drawing becomes what the data have.
    with zipfile.ZipFile(real_omniglot / "images_background.zip") as archive:
        drawings = [name for name in sorted(archive.namelist()) if name.endswith(".png")][:20]
        examples = [OmniglotDataModule().example(Image.open(archive.open(name))) for name in drawings]
    assert np.array_equal(np.stack(examples), store.images[:20])

    split = OmniglotDataModule(split="lake").split_classes(store.names)
    assert [len(alphabets([store.names[index] for index in split[part]])) for part in SPLITS] == [25, 5, 20]
    vinyals = real_omniglot / "splits" / "vinyals"
    if vinyals.exists():
        split = OmniglotDataModule(split="file", split_dir=str(vinyals)).split_classes(store.names)
        assert [len(split[part]) for part in SPLITS] == [1028, 172, 423]


@pytest.mark.parametrize("kind", ["random", "lake"])
def test_splits_are_disjoint_and_complete(kind):
    split = classes(split=kind)
    assert sorted(itertools.chain(*split.values())) == sorted(NAMES)
    assert split == classes(split=kind)
    assert split != classes(split=kind, split_seed=1)


def test_the_lake_split_goes_by_alphabets():
    split = {part: alphabets(names) for part, names in classes(split="lake").items()}
    assert [len(split[part]) for part in SPLITS] == [25, 5, 20]
    assert all(alphabet.startswith("images_evaluation") for alphabet in split["test"])
    assert not split["train"] & split["val"]


def test_without_validation_alphabets_all_background_is_trained_on():
    split = classes(split="lake", val_alphabets=0)
    assert [*split] == ["train", "test"]
    assert [len(alphabets(split[part])) for part in split] == [30, 20]
    held_out = alphabets(classes(split="lake", val_alphabets=7)["val"])
    assert len(held_out) == 7
    with pytest.raises(FewShotError, match=r"^val_alphabets must be at most 29, not 30$"):
        classes(split="lake", val_alphabets=30)


def test_the_file_split_reads_lists_and_refuses_wrong_ones(tmp_path):
    lists = {"train": "background00/character01\nbackground01/character01\n", "val": "background02/character01"}
    lists["test"] = "evaluation00/character01 evaluation01/character02"
    for part, content in lists.items():
        (tmp_path / f"{part}.txt").write_text(content)
    split = classes(split="file", split_dir=str(tmp_path))
    assert split["val"] == ["images_background/background02/character01"]
    assert [len(split[part]) for part in SPLITS] == [2, 1, 2]

    for content, message in (
        ("background02/character99", "no ALPHABET/characterNN of Omniglot"),
        ("background00/character01", "which train.txt names already"),
        ("", "is empty"),
    ):
        (tmp_path / "val.txt").write_text(content)
        with pytest.raises(FewShotError, match=message):
            classes(split="file", split_dir=str(tmp_path))
    (tmp_path / "val.txt").unlink()
    with pytest.raises(FewShotError, match=r"val.txt cannot be read"):
        classes(split="file", split_dir=str(tmp_path))
    with pytest.raises(FewShotError, match=r"train.txt cannot be read \(embedded null byte\)"):
        classes(split="file", split_dir="null\0")
    with pytest.raises(FewShotError, match=r"^split must be one of random, lake, file, not None$"):
        OmniglotDataModule(split=None)
    with pytest.raises(FewShotError, match="go together"):
        OmniglotDataModule(split="file")
