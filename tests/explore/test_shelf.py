"""What the visitors share: learners as in a test, and characters that none of them knows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY
from pytorch_lightning import Trainer

from fewshot.algorithms import MANNModule
from fewshot.checkpoints import KEY, SafeCheckpointIO
from fewshot.data import GlyphsDataModule, SinusoidDataModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.evaluation.load import load
from fewshot.explore.race import Race
from fewshot.explore.shelf import Learner, Shelf, apart, held_out, read_learner
from fewshot.networks import Conv4

PRETRAINED = REPOSITORY / "checkpoints" / "pretrained"
EPISODES = 3


def scores_of_a_test(path, options, data) -> list[float]:
    """The scores of test episodes, as fewshot.evaluation has them."""
    module = load(path, options).module
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(accelerator="cpu", inference_mode=False, plugins=[SafeCheckpointIO()], **quiet)
    trainer.test(module, data, ckpt_path=str(path), verbose=False)
    return module.episode_scores


@pytest.mark.parametrize(("file", "options"), [("maml_5w1s", ["--model.batch_norm=inductive"]), ("protonet_5w1s", [])])
def test_a_learner_answers_as_in_a_test(file, options):
    learner = read_learner(PRETRAINED / f"{file}.ckpt")
    data = GlyphsDataModule(test_queries=2, test_episodes=EPISODES)
    expected = scores_of_a_test(learner.path, options, data)
    support, query, classes = data.dataset("test", length=EPISODES).__getitems__(range(EPISODES))
    episode = Episode(support._replace(x=support.x / 255), query._replace(x=query.x / 255), classes)
    outputs = learner.after_steps(episode, learner.steps)[-1]
    assert learner.module.objective.scores(outputs, query.y).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("method", ["baseline", "maml"])
def test_a_learner_of_sinusoids_fits_as_in_a_test(method):
    learner = read_learner(PRETRAINED / f"sinusoid_{method}.ckpt")
    data = SinusoidDataModule(test_shots=5, test_queries=20, test_episodes=EPISODES)
    expected = scores_of_a_test(learner.path, [], data)
    episode = data.dataset("test", length=EPISODES).__getitems__(range(EPISODES))
    outputs = learner.after_steps(episode, learner.steps)[-1]
    assert learner.module.objective.scores(outputs, episode.query.y).tolist() == pytest.approx(expected, rel=1e-4)


def test_no_character_is_one_that_a_learner_was_trained_on(shelf):
    assert shelf.characters.kind.startswith("printed letters")
    assert len(shelf.characters.store) > 100
    for learner in shelf.drawings.values():
        assert len(learner.trained_on) == 1100
        assert not learner.trained_on & set(shelf.characters.store.names)


def test_the_characters_are_those_of_omniglot_s_test_split_where_it_is(omniglot, shelf):
    characters = held_out(shelf.drawings.values())
    assert characters.kind == "handwritten characters of Omniglot"
    data = load(PRETRAINED / "maml_5w1s.ckpt").data
    data.setup("test")
    assert characters.store.names == tuple(
        name for name in data.stores["test"].names if name not in shelf.drawings["MAML"].trained_on
    )


def test_characters_that_a_learner_knows_come_with_a_warning(shelf, monkeypatch):
    data = GlyphsDataModule()
    data.setup("test")
    knows = replace(shelf.drawings["ProtoNet"], trained_on=frozenset(data.stores["test"].names))
    monkeypatch.setenv("FEWSHOT_DATA", "/nowhere")
    assert "may know them" in held_out([knows]).warning


def test_one_s_own_learner_takes_the_place_of_those_of_its_kind():
    shelf = Shelf.of([PRETRAINED / "protonet_5w1s.ckpt"])
    assert list(shelf.drawings) == ["ProtoNet"]
    assert "MAML" in shelf.sinusoids


def test_learners_of_the_same_name_are_numbered(shelf):
    learner = shelf.drawings["MAML"]
    assert [one.name for one in apart([learner, learner])] == ["MAML", "MAML 2"]


def test_a_learner_of_something_else_is_refused(tmp_path):
    checkpoint = torch.load(PRETRAINED / "protonet_5w1s.ckpt", weights_only=True)
    checkpoint[KEY]["config"]["data"] = {"class_path": "fewshot.data.FolderDataModule", "init_args": {}}
    torch.save(checkpoint, tmp_path / "folders.ckpt")
    with pytest.raises(FewShotError, match=r"folders.ckpt holds a ProtoNetModule of FolderDataModule"):
        Shelf.of([tmp_path / "folders.ckpt"])


def test_a_learner_of_five_classes_does_not_judge_twenty(shelf):
    mann = Learner("MANN", Path(), MANNModule(Conv4(4, running_statistics=True)).eval(), frozenset(), 0)
    for learner in (shelf.drawings["MAML"], mann):
        assert learner.most_ways == 5
        with pytest.raises(FewShotError, match=f"{learner.name} was trained for 5 classes and cannot judge 20"):
            learner.after_steps(Race(shelf.characters, {}, seed=0, ways=20).trial.episode, 1)
    episode = Race(shelf.characters, {}, seed=0).trial.episode
    two = Examples(episode.support.x[:, :2], episode.support.y[:, :2])
    assert mann.after_steps(Episode(two, episode.query), 1)[0].shape == (1, 1, 2)


def test_a_learner_of_ones_own_is_shown_if_its_module_is_trusted(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_learner.py").write_text(
        "from fewshot.algorithms import ProtoNetModule\nclass Own(ProtoNetModule): ..."
    )
    checkpoint = torch.load(PRETRAINED / "protonet_5w1s.ckpt", weights_only=True)
    checkpoint[KEY]["config"]["model"]["class_path"] = "own_learner.Own"
    checkpoint["algorithm"] = "Own"
    torch.save(checkpoint, tmp_path / "own.ckpt")
    with pytest.raises(FewShotError, match=r"--trust \[own_learner\]"):
        Shelf.of([tmp_path / "own.ckpt"])
    (learner,) = Shelf.of([tmp_path / "own.ckpt"], ["own_learner"]).drawings.values()
    assert type(learner.module).__name__ == "Own"
