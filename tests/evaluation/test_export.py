"""Checkpoints to give away."""

import json

import torch

from fewshot.algorithms import BaselineModule
from fewshot.cli import main


def test_an_exported_checkpoint_is_small_and_tests_the_same(maml, tmp_path, fails):
    small = tmp_path / "given" / "away.ckpt"
    main(["export", f"--ckpt_path={maml}", f"--to={small}"])
    whole, kept = (torch.load(file, weights_only=True) for file in (maml, small))
    assert kept.keys() < whole.keys()
    assert not kept.keys() & {"optimizer_states", "lr_schedulers", "callbacks", "loops"}
    assert small.stat().st_size < maml.stat().st_size
    assert kept["GlyphsDataModule"]["train"] == whole["GlyphsDataModule"]["train"]
    main(["compare", f"--ckpt_paths=[{maml},{small}]", f"--folder={tmp_path}"])
    ours, theirs = json.loads((tmp_path / "results.json").read_text())
    assert ours["scores"] == theirs["scores"]
    assert ours["loss"] == theirs["loss"]
    assert "can be tested, but its training cannot go on" in fails("fit", f"--ckpt_path={small}")
    assert "exists: give another name" in fails("export", f"--ckpt_path={maml}", f"--to={small}")
    assert "is a folder" in fails("export", f"--ckpt_path={maml}", f"--to={tmp_path}")


def test_an_exported_checkpoint_names_no_folder_of_its_maker(of_omniglot, omniglot, tmp_path):
    away = tmp_path / "away.ckpt"
    main(["export", f"--ckpt_path={of_omniglot}", f"--to={away}"])
    assert str(omniglot).encode() in of_omniglot.read_bytes()
    assert str(omniglot).encode() not in away.read_bytes()


def test_the_head_over_the_training_classes_stays_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ["--model.network=Conv4", "--model.network.channels=4", "--model.network.running_statistics=true"]
    data = ["--data=GlyphsDataModule", "--data.meta_batch_size=2", "--data.val_episodes=4", "--data.test_episodes=4"]
    length = ["--trainer.max_steps=2", "--name=whole"]
    main(["fit", "--model=BaselineModule", *network, "--model.train_classes=1095", *data, *length])
    main(["export", "--ckpt_path=checkpoints/whole/last.ckpt", "--to=small.ckpt"])
    whole, small = (torch.load(file, weights_only=True) for file in ("checkpoints/whole/last.ckpt", "small.ckpt"))
    assert whole["state_dict"].keys() - small["state_dict"].keys() == {"train_head.weight", "train_head.bias"}
    main(["compare", "--ckpt_paths=[checkpoints/whole/last.ckpt,small.ckpt]", "--folder=compared"])
    ours, theirs = json.loads((tmp_path / "compared" / "results.json").read_text())
    assert ours["scores"] == theirs["scores"]
    learner = BaselineModule.load_from_checkpoint("small.ckpt")
    assert learner.train_head is None
