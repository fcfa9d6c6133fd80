"""What a run keeps and where, and that it replaces nothing without a word."""

import os
import shutil

import torch
from helpers import SMALL_NETWORK, TINY, best
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.cli import main
from fewshot.runs.folder import claimed


def test_tensorboard_shows_curves_rates_an_episode_and_the_options(tmp_path):
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
          "--trainer.max_steps=50", "--model.learn_inner_lr=per-step"])  # fmt: skip
    log = tmp_path / "logs" / "glyphs_maml" / "fit" / "version_0"
    events = EventAccumulator(str(log)).Reload()
    tags = events.Tags()
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/accuracy_before"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("val/accuracy")] == [10, 20, 30, 40, 50]  # enough for a curve
    assert len(events.Scalars("train/loss")) >= 20
    rates = events.Scalars("weights/inner_lr/step0/head.weight")
    assert rates[-1].value != 0.4  # it has learned
    sections = sorted({name.partition("/")[0] for name in tags["scalars"]})
    assert sections == ["train", "val", "weights"]  # as TensorBoard sorts them; no epoch
    assert tags["images"] == ["val/episode"]
    assert "config/text_summary" in tags["tensors"]
    assert "learn_inner_lr: per-step" in (log / "config.yaml").read_text()
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert all(name in start for name in (b"algorithm", b"MAML", b"ways", b"shots", b"inner_lr", b"meta_lr"))
    assert b"class_path" not in start
    assert b"val/accuracy" in events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert "hp_metric" not in tags["scalars"]


def test_sinusoids_are_drawn_too_with_their_error(tmp_path):
    main(["fit", "--config=sinusoid_maml", "--model.record=false", f"--trainer.default_root_dir={tmp_path}", *TINY])
    log = tmp_path / "logs" / "sinusoid_maml" / "fit" / "version_0"
    tags = EventAccumulator(str(log)).Reload().Tags()
    assert tags["images"] == ["val/episode"]
    assert {"val/mse", "val/mse_before"} <= set(tags["scalars"])


def test_a_second_run_of_a_name_replaces_nothing_without_a_word(trained, tmp_path, fails):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = best(tmp_path).parent
    before = {file: file.read_bytes() for file in folder.iterdir()}
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
             "--trainer.logger=false", "--data.seed=1"]  # fmt: skip
    assert fails(*words) == (
        f"{folder} holds last.ckpt and best.ckpt of an earlier run: --ckpt_path {folder}/last.ckpt goes on with it, "
        "--overwrite true begins anew and replaces it, --name NAME gives this run its own folder"
    )
    from_elsewhere = [*words, f"--ckpt_path={best(trained)}", "--trainer.max_steps=3"]
    assert fails(*from_elsewhere).startswith(f"{folder} holds")
    fails(*words, "--overwrite=true", "--data.shots=30")  # it is lost when the new run begins, and not before
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    main([*words, "--name=other"])
    assert best(tmp_path, "other").exists()
    main([*words, "--overwrite=true"])
    assert best(tmp_path).read_bytes() != before[best(tmp_path)]


def test_going_back_to_an_earlier_state_loses_nothing_without_a_word(tmp_path, fails):
    words = ["fit", "--config=sinusoid_maml", "--model.record=false", f"--trainer.default_root_dir={tmp_path}", *TINY,
             "--trainer.logger=false", "--trainer.val_check_interval=1"]  # fmt: skip
    main(words)
    folder = best(tmp_path, "sinusoid_maml").parent
    earlier = shutil.copy(folder / "last.ckpt", folder / "earlier.ckpt")
    main([*words, "--ckpt_path=last", "--trainer.max_steps=4"])
    back = [*words, f"--ckpt_path={earlier}", "--trainer.max_steps=3"]
    assert f"{folder}/last.ckpt has taken 4 outer steps, {earlier} 2: resume from last.ckpt" in fails(*back)
    main([*back, "--overwrite=true"])
    assert torch.load(folder / "last.ckpt")["global_step"] == 3


def test_two_runs_at_once_do_not_share_a_folder(tmp_path, fails):
    words = ["fit", "--config=sinusoid_maml", "--model.record=false", f"--trainer.default_root_dir={tmp_path}", *TINY,
             "--trainer.logger=false"]  # fmt: skip
    with claimed(tmp_path / "checkpoints" / "sinusoid_maml", None, overwrite=False):
        assert "another run is writing to" in fails(*words, "--overwrite=true")
    main(words)  # whoever held it is gone
    assert {file.name for file in best(tmp_path, "sinusoid_maml").parent.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_the_best_score_goes_along_with_a_folder_that_is_moved(tmp_path, capsys, caplog):
    words = ["fit", "--config=sinusoid_maml", "--model.record=false", *TINY, "--trainer.logger=false",
             "--trainer.val_check_interval=1"]  # fmt: skip
    main([*words, f"--trainer.default_root_dir={tmp_path / 'here'}"])
    folder = best(tmp_path / "there", "sinusoid_maml").parent
    shutil.move(tmp_path / "here", tmp_path / "there")
    for name in ("best", "last"):  # a score that no validation reaches
        checkpoint = torch.load(folder / f"{name}.ckpt")
        state = next(state for key, state in checkpoint["callbacks"].items() if "val/mse" in key)
        state["best_model_score"] = torch.tensor(0.0)
        torch.save(checkpoint, folder / f"{name}.ckpt")
    unbeaten = best(tmp_path / "there", "sinusoid_maml").read_bytes()
    goes_on = [*words, f"--ckpt_path={folder}/last.ckpt"]
    main([*goes_on, f"--trainer.default_root_dir={tmp_path / 'there'}", "--trainer.max_steps=3"])
    main([*goes_on, f"--trainer.default_root_dir={tmp_path / 'elsewhere'}", "--trainer.max_steps=4"])
    for place in ("there", "elsewhere"):
        assert best(tmp_path / place, "sinusoid_maml").read_bytes() == unbeaten
    assert "Best: val/mse 0.0000" in capsys.readouterr().out
    best(tmp_path / "there", "sinusoid_maml").unlink()  # now there is no such state any more
    main([*goes_on, f"--trainer.default_root_dir={tmp_path / 'there'}", "--trainer.max_steps=5"])
    assert "a new best begins" in caplog.text
    assert best(tmp_path / "there", "sinusoid_maml").exists()


def test_the_first_improvement_after_a_resume_is_kept_where_paths_are_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--config=sinusoid_maml", "--model.record=false", *TINY, "--trainer.logger=false",
             "--trainer.val_check_interval=2", "--model.meta_lr=0.01"]  # fmt: skip
    main(words)
    main([*words, "--ckpt_path=last", "--trainer.max_steps=4"])
    assert torch.load("checkpoints/sinusoid_maml/best.ckpt")["global_step"] == 4


def test_neither_a_dry_run_nor_checkpoints_of_ones_own_replace_anything(trained, tmp_path, fails):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    folder = best(tmp_path).parent
    before = {file: file.read_bytes() for file in folder.iterdir()}
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
             "--trainer.logger=false"]  # fmt: skip
    main([*words, "--trainer.fast_dev_run=true"])
    own = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.dirpath={tmp_path / 'mine'}"]
    assert "of an earlier run" in fails(*words, *own)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_validations_of_other_episodes_are_not_ranked_together(trained, tmp_path, caplog):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    before = best(tmp_path).read_bytes()
    words = ["fit", f"--trainer.default_root_dir={tmp_path}", *TINY, "--trainer.logger=false", "--data.test_shots=5",
             f"--ckpt_path={best(tmp_path).with_name('last.ckpt')}", "--trainer.max_steps=3",
             "--trainer.val_check_interval=1"]  # fmt: skip
    main(words)
    assert "The validations are not those of before (shots changed): a new best begins." in caplog.text
    aside = best(tmp_path).with_name("best_until_2.ckpt")
    assert aside.read_bytes() == before
    shutil.copy(trained / best(tmp_path).with_name("last.ckpt").relative_to(tmp_path), best(tmp_path).parent)
    main(words)  # as if the first one had been killed before it could save
    assert aside.read_bytes() == before
    assert torch.load(best(tmp_path))["global_step"] == 3
    main([*words, "--trainer.max_steps=4", "--trainer.limit_val_batches=1"])
    assert "those of before (limit_val_batches changed)" in caplog.text


def test_a_full_disk_leaves_the_old_checkpoint_whole(fails, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    before = best(tmp_path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK]
    words += ["--ckpt_path=last", "--trainer.max_steps=3", "--trainer.logger=false"]
    assert "last.ckpt cannot be written ([Errno 28] No space left on device): make room" in fails(*words)
    assert best(tmp_path).read_bytes() == before
    assert {path.name for path in best(tmp_path).parent.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_nothing_is_written_for_a_mistake(fails, trained, tmp_path):
    place = f"--trainer.default_root_dir={tmp_path}"
    fails("fit", "--config=glyphs_maml", "--data.shots=30", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.test_ways=7", place)
    fails("test", f"--ckpt_path={best(trained)}", "--data.split_seed=1", place)
    assert not list(tmp_path.iterdir())
