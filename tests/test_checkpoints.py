"""Checkpoint files: what is damaged or not as it should be is refused in one line."""

import random
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import SMALL_NETWORK, TINY, best

from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.cli import main
from fewshot.errors import FewShotError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a MAML that was trained for two steps on glyphs."""
    root = tmp_path_factory.mktemp("checkpoint")
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK,
          "--trainer.logger=false"])  # fmt: skip
    return best(root)


def same(one: object, other: object) -> bool:
    """Whether two nested states are equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_no_flipped_bit_changes_what_is_read(checkpoint, tmp_path):
    """It is refused, or, as in the padding between two tensors, means nothing."""
    content, whole, rng, refused = checkpoint.read_bytes(), read_checkpoint(checkpoint), random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        (tmp_path / "damaged.ckpt").write_bytes(damaged)
        try:
            read = read_checkpoint(tmp_path / "damaged.ckpt")
        except FewShotError:
            refused += 1
        else:
            assert same(read, whole)
    assert refused > 75


def test_no_flipped_bit_of_a_weight_is_accepted(checkpoint, tmp_path):
    content = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
    for entry in tensors:
        damaged = bytearray(content)
        names = struct.unpack("<HH", content[entry.header_offset + 26 : entry.header_offset + 30])
        damaged[entry.header_offset + 30 + sum(names) + entry.file_size // 2] ^= 1
        (tmp_path / "damaged.ckpt").write_bytes(damaged)
        with pytest.raises(FewShotError, match=r"damaged\.ckpt is no checkpoint, or a damaged one"):
            read_checkpoint(tmp_path / "damaged.ckpt")


def test_what_is_cut_short_or_packed_is_refused(checkpoint, tmp_path, fails):
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:-1000])
    with zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    for path in (tmp_path / "cut.ckpt", tmp_path / "packed.ckpt", "/etc/passwd", "/dev/null"):
        message = fails("test", f"--ckpt_path={path}")
        assert message.startswith((f"{path} is no checkpoint, or a damaged one", "there is no checkpoint file"))


@pytest.mark.parametrize("part", ["state_dict", "global_step", "algorithm", "pytorch-lightning_version", KEY])
def test_what_is_missing_or_of_another_kind_is_named(part, checkpoint, tmp_path, fails):
    whole = torch.load(checkpoint)
    wrong = [{name: value for name, value in whole.items() if name != part}] if part != KEY else []
    record = {**whole[KEY]}
    kinds = (
        [5, {}, {**record, "name": "../x"}, {**record, "name": 5}, {**record, "config": {}}]
        if part == KEY
        else [[None]]
    )
    wrong += [{**whole, part: kind} for kind in kinds]
    for number, contents in enumerate(wrong):
        torch.save(contents, tmp_path / f"{number}.ckpt")
        assert "is a checkpoint, but its " in fails("test", f"--ckpt_path={tmp_path}/{number}.ckpt")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"loops": 5}, {"callbacks": 7}, {"pytorch-lightning_version": "x"}, {"optimizer_states": [3]}, {"epoch": "x"},
     {"lr_schedulers": [{"last_epoch": "x"}]}, {"global_step": -5}, {"optimizer_states": []}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_restored_names_its_checkpoint(wrong, checkpoint, tmp_path, fails):
    torch.save({**torch.load(checkpoint), **wrong}, tmp_path / "wrong.ckpt")
    message = fails("fit", f"--ckpt_path={tmp_path}/wrong.ckpt", f"--trainer.default_root_dir={tmp_path}",
                    "--trainer.max_steps=3", "--trainer.logger=false")  # fmt: skip
    assert message.startswith(f"{tmp_path}/wrong.ckpt ")


def test_data_that_a_checkpoint_knows_nothing_of(checkpoint, tmp_path, fails):
    for state in ({}, [], {"digest": 5, "split": ""}):
        torch.save({**torch.load(checkpoint), "GlyphsDataModule": state}, tmp_path / "empty.ckpt")
        assert "what it remembers of its data is not" in fails("test", f"--ckpt_path={tmp_path}/empty.ckpt")
