"""What studies share: nothing is trained twice, and no other training is taken for the one that was asked for."""

import shutil
from pathlib import Path

import pytest
from helpers import REPOSITORY

from fewshot.checkpoints import read_checkpoint
from fewshot.errors import FewShotError
from fewshot.studies import driver
from fewshot.studies.driver import train

TRAINED = REPOSITORY / "checkpoints" / "pretrained" / "sinusoid_maml.ckpt"
STEPS = read_checkpoint(TRAINED)["global_step"]
CONFIG = REPOSITORY / "configs" / "sinusoid_maml.yaml"
OPTIONS = {"model.inner_lr": "0.02"}


@pytest.fixture
def trainings(tmp_path, monkeypatch) -> list[list[str]]:
    """The words of all trainings, each of which is at its end at once."""
    words: list[list[str]] = []
    last = tmp_path / "checkpoints" / "maml_0.02" / "last.ckpt"

    def run(typed: list[str]) -> None:
        words.append(typed)
        last.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TRAINED, last)

    monkeypatch.setattr(driver, "run", run)
    return words


def test_what_is_trained_is_not_trained_again_and_what_is_not_goes_on(trainings, tmp_path, capsys):
    train("maml_0.02", CONFIG, OPTIONS, tmp_path, STEPS)
    train("maml_0.02", CONFIG, OPTIONS, tmp_path, STEPS)
    assert len(trainings) == 1
    assert "checkpoints/maml_0.02 is trained already; without it" in capsys.readouterr().out
    train("maml_0.02", CONFIG, OPTIONS, tmp_path, STEPS + 1)
    assert "--ckpt_path=last" in trainings[-1]
    assert f"--trainer.max_steps={STEPS + 1}" in trainings[-1]


def test_another_training_in_the_folder_is_refused(trainings, tmp_path):
    train("maml_0.02", CONFIG, OPTIONS, tmp_path, STEPS)
    with pytest.raises(FewShotError, match=rf"holds a training of {STEPS} outer steps, not 100: remove it, or give"):
        train("maml_0.02", CONFIG, OPTIONS, tmp_path, 100)
    changed = tmp_path / "changed.yaml"
    changed.write_text(CONFIG.read_text().replace("shots: 5", "shots: 6"))
    for config, options in ((CONFIG, {"model.inner_lr": "0.1"}), (CONFIG, {}), (changed, OPTIONS)):
        with pytest.raises(FewShotError, match="with other options"):
            train("maml_0.02", config, options, tmp_path, STEPS)
    Path(tmp_path, "checkpoints", "maml_0.02.json").unlink()
    with pytest.raises(FewShotError, match="or of an earlier fewshot"):
        train("maml_0.02", CONFIG, OPTIONS, tmp_path, STEPS)
    assert len(trainings) == 1
