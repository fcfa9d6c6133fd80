"""What fit and test do with the words that a user types."""

import pytest
import torch
from helpers import REPOSITORY, SMALL_NETWORK, TINY, best, reports

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.runs import run


def test_what_comes_along_goes_by_its_name_from_any_folder(tmp_path, monkeypatch, omniglot):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSHOT_DATA", str(omniglot.parent))
    main(["fit", "--config", "glyphs_maml", *TINY, *SMALL_NETWORK])
    assert best(tmp_path).exists()
    main(["test", "--ckpt_path", "pretrained/protonet_5w1s", "--data.test_episodes=4"])
    (report,) = reports(tmp_path)
    assert report["checkpoint"].endswith("pretrained/protonet_5w1s.ckpt")
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


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train(precision, tmp_path):
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
          f"--trainer.precision={precision}", "--trainer.logger=false"])  # fmt: skip
    assert best(tmp_path).exists()
