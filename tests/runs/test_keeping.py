"""What a run keeps and where, and that it replaces nothing without a word."""

import os
import shutil

from helpers import SMALL_NETWORK, TINY, best
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.cli import main


def test_tensorboard_shows_curves_rates_an_episode_and_the_options(tmp_path):
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
          "--trainer.max_steps=50", "--model.learn_inner_lr=per-step"])  # fmt: skip
    log = tmp_path / "logs" / "glyphs_maml" / "fit" / "version_0"
    events = EventAccumulator(str(log)).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/accuracy_before"} <= set(tags["scalars"])
    assert "inner_lr/step0/head.weight" in tags["scalars"]
    assert events.Scalars("inner_lr/step0/head.weight")[-1].value != 0.4  # it has learned
    assert tags["images"] == ["val/episode"]
    assert "config/text_summary" in tags["tensors"]
    assert "learn_inner_lr: per-step" in (log / "config.yaml").read_text()
    assert "_hparams_/experiment" in events.summary_metadata
    assert "hp_metric" not in tags["scalars"]


def test_sinusoids_are_drawn_too_with_their_error(tmp_path):
    main(["fit", "--config=sinusoid_maml", "--model.record=false", f"--trainer.default_root_dir={tmp_path}", *TINY])
    log = tmp_path / "logs" / "sinusoid_maml" / "fit" / "version_0"
    tags = EventAccumulator(str(log)).Reload().Tags()
    assert tags["images"] == ["val/episode"]
    assert {"val/mse", "val/mse_before"} <= set(tags["scalars"])


def test_a_second_run_of_a_name_says_so_and_another_name_has_its_own_folder(tmp_path, caplog):
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
             "--trainer.logger=false"]  # fmt: skip
    main([*words, "--name=other"])
    main(words)
    assert best(tmp_path, "other").exists()
    assert "earlier run" not in caplog.text
    main(words)
    assert "holds an earlier run, whose checkpoints will be replaced" in caplog.text


def test_the_best_checkpoint_is_told_even_after_ctrl_c(tmp_path, capsys, interrupt):
    """From the first validation on there is something to keep."""
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK]
    interrupt([*words, "--trainer.val_check_interval=2", "--trainer.max_steps=10"], after=3)
    assert f"in {best(tmp_path)}" in capsys.readouterr().out.replace("\n", "")
    assert best(tmp_path).with_name("last.ckpt").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole(fails, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    before = best(tmp_path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK]
    assert "best.ckpt cannot be written ([Errno 28] No space left on device): make room" in fails(*words)
    assert best(tmp_path).read_bytes() == before
    assert {path.name for path in best(tmp_path).parent.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_nothing_is_written_for_a_mistake(fails, trained, tmp_path):
    place = f"--trainer.default_root_dir={tmp_path}"
    fails("fit", "--config=glyphs_maml", "--data.shots=30", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.test_ways=7", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.split_seed=1", place)
    assert not list(tmp_path.iterdir())
