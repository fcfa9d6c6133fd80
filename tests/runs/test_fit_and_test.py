"""What fit and test do with the words that a user types."""

import re
import shlex

import pytest
import torch
from helpers import REPOSITORY, SMALL_NETWORK, TINY, best, last, reports

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.runs import run


def test_what_comes_along_goes_by_its_name_from_any_folder(tmp_path, monkeypatch, omniglot, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSHOT_DATA", str(omniglot.parent))
    main(["fit", "--config", "glyphs_maml", *TINY, *SMALL_NETWORK])
    assert best(tmp_path).exists()
    main(["test", "--ckpt_path", "pretrained/protonet_5w1s", "--data.test_episodes=4"])
    (report,) = reports(tmp_path)
    assert report["checkpoint"].endswith("pretrained/protonet_5w1s.ckpt")
    assert "│ pretrained/protonet_5w1s " in capsys.readouterr().out
    main(["fit", f"--config={REPOSITORY}/configs/glyphs_maml.yaml", "--name=of_a_path", *TINY, *SMALL_NETWORK,
          "--trainer.logger=false"])  # fmt: skip
    assert best(tmp_path, "of_a_path").exists()


def test_what_the_user_types_wins_over_the_checkpoint(trained, tmp_path):
    cli = run(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}", "--data.seed=3",
               "--model.test_adaptation_steps=7", "--model.batch_norm=inductive"])  # fmt: skip
    assert cli.model.test_adaptation_steps == 7
    assert cli.model.batch_norm == "inductive"
    assert cli.datamodule.seed == 3
    assert cli.datamodule.episodes["test"] == 4  # from the checkpoint
    assert cli.trainer.state.finished


def test_a_learner_is_loaded_from_a_checkpoint_in_python(trained, tmp_path):
    cli = run(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}"])
    module, episode = EpisodicModule.load_from_checkpoint(best(trained)), cli.datamodule.dataset("test")[0]
    episode = cli.datamodule.on_after_batch_transfer(episode, 0)
    assert torch.equal(module.predict(episode).outputs, cli.model.predict(episode).outputs)
    assert module.test_adaptation_steps == 3


def test_a_checkpoint_is_tested_on_another_data_set(trained, tmp_path, omniglot):
    main(["test", f"--ckpt_path={best(trained)}", f"--trainer.default_root_dir={tmp_path}", "--data=OmniglotDataModule",
          f"--data.root={omniglot}", "--data.test_ways=5", "--data.test_episodes=4"])  # fmt: skip
    (report,) = reports(tmp_path)
    assert report["split"] == "omniglot/random"


def test_a_training_without_validation_keeps_its_last_state(tmp_path, omniglot, fails):
    words = ["fit", "--config=omniglot_lake", "--data.val_alphabets=0", "--trainer.limit_val_batches=0",
             *TINY, *SMALL_NETWORK, f"--trainer.default_root_dir={tmp_path}",
             "--name=mine", f"--data.root={omniglot}", "--trainer.logger=false"]  # fmt: skip
    main(words)
    assert not best(tmp_path, "mine").exists()
    main(["test", f"--ckpt_path={last(tmp_path)}", f"--trainer.default_root_dir={tmp_path}"])
    (report,) = reports(tmp_path)
    assert (report["split"], report["ways"], report["within_groups"]) == ("omniglot/lake", 20, True)
    validated = [*words, "--name=validated", "--trainer.limit_val_batches=1.0"]
    said = fails(*validated)
    assert "has no val split, but train, test: it cannot fit. --data.val_alphabets 5 holds out" in said
    assert "--trainer.limit_val_batches 0 trains without" in said
    main([*validated, "--data.val_alphabets=5"])
    assert best(tmp_path, "validated").exists()


def test_a_share_may_be_said_as_it_was_when_it_was_all_or_none(tmp_path):
    for said, meant in (("false", 0), ("true", 1), ("0.5", 0.5)):
        cli = run(["fit", "--config=glyphs_protonet", *TINY, *SMALL_NETWORK, f"--trainer.default_root_dir={tmp_path}",
                   f"--name=w{meant}", "--trainer.logger=false", "--data.ways=3",
                   f"--data.within_groups={said}"])  # fmt: skip
        assert cli.datamodule.within_groups == meant
        main(["test", f"--ckpt_path={best(tmp_path, f'w{meant}')}", f"--trainer.default_root_dir={tmp_path}"])


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision, tmp_path):
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
          f"--trainer.precision={precision}", "--trainer.logger=false"])  # fmt: skip
    assert best(tmp_path).exists()


def test_sinusoids_train_in_a_precision_that_numpy_does_not_know(tmp_path):
    main(["fit", "--config=sinusoid_maml", f"--trainer.default_root_dir={tmp_path}", "--trainer.precision=bf16-true",
          "--trainer.max_steps=1", "--data.val_episodes=1", "--trainer.logger=false"])  # fmt: skip
    assert best(tmp_path, "sinusoid_maml").exists()


def test_a_run_says_what_it_does_and_what_comes_next(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    main(["fit", "--config=glyphs_maml", *TINY, *SMALL_NETWORK, "--trainer.max_steps=15",
          "--trainer.enable_progress_bar=true"])  # fmt: skip
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "MAML on glyphs/random, 5-way 1-shot: 15 outer steps of 2 tasks, on the CPU."
    assert second == "Checkpoints: checkpoints/glyphs_maml; logs: logs/glyphs_maml/fit/version_0"
    validated = [line for line in rest if re.fullmatch(r"Outer step \d+ of 15: .*val/accuracy \d\.\d{3}", line)]
    assert len(validated) == 5
    assert any(re.match(r"5 outer steps to go: about \d+ seconds", line) for line in rest)
    test, show, _ = rest[-3:]
    assert test == "Test it: fewshot test --ckpt_path checkpoints/glyphs_maml/best.ckpt"
    assert max(map(len, [first, second, *rest])) < 80
    assert not caplog.messages  # Seed set to 0, GPU available: False, ...
    for line in (test, show):
        main(shlex.split(line.partition(": fewshot ")[2]))
    assert len(reports(tmp_path)) == 1
    assert (tmp_path / "logs" / "curves" / "curves.png").exists()
