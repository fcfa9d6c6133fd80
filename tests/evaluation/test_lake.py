"""Lake's 20 runs within alphabets, on random characters that are named as Omniglot's are."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL_NETWORK, TINY, Identity, last
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fewshot.algorithms import ProtoNetModule
from fewshot.cli import main
from fewshot.data import ImageStore, OmniglotDataModule
from fewshot.episodes import Episode, Prediction
from fewshot.evaluation.lake import episode, error_rates, probabilities, read_runs

RUNS = read_runs()
DRAWERS = 20


def test_the_runs_are_two_of_each_of_ten_alphabets_by_different_drawers():
    assert len(RUNS) == 20
    assert set(Counter(run.alphabet for run in RUNS).values()) == {2}
    assert all(len(set(run.characters)) == 20 for run in RUNS)
    assert all(1 <= run.support_drawer <= 20 and 1 <= run.query_drawer <= 20 for run in RUNS)
    assert all(run.support_drawer != run.query_drawer for run in RUNS)
    assert RUNS[0][:3] == ("Atlantean", 5, 8)
    assert RUNS[0].characters[:2] == ("character09", "character10")


def test_every_drawing_of_the_runs_is_in_the_real_omniglot(real_omniglot):
    store = OmniglotDataModule(root=str(real_omniglot)).load()
    for run in RUNS:
        support, query, _ = episode(store, run)
        assert support.x.shape == (20, 20, 1, 28, 28)
        assert query.x.shape == (20, 1, 1, 28, 28)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Two background alphabets to train on, and the runs' alphabets: each character a noisy pattern."""
    names = [f"images_background/{alphabet}/character{number:02}" for alphabet in "AB" for number in range(1, 21)]
    names += sorted({f"images_evaluation/{run.alphabet}/{name}" for run in RUNS for name in run.characters})
    rng = np.random.default_rng(0)
    patterns = rng.random((len(names), 1, 1, 28, 28))
    drawings = 255 * (0.25 * patterns + 0.75 * rng.random((len(names), DRAWERS, 1, 28, 28)))
    images = torch.from_numpy(drawings.astype(np.uint8)).flatten(0, 1)
    return ImageStore.of_rows(images, [DRAWERS] * len(names), names)


@pytest.fixture(scope="module")
def data(store: ImageStore) -> Iterator[OmniglotDataModule]:
    """Omniglot of these characters, here and on the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmniglotDataModule, "prepare_data", lambda _: None)
        patch.setattr(OmniglotDataModule, "load", lambda _: store)
        yield OmniglotDataModule(split="lake", val_alphabets=0)


class Pixels(Identity):
    """An image as a row of its pixels."""

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x.flatten(1)


def by_hand(store: ImageStore) -> list[float]:
    """The error of each run of the nearest support image, pixel by pixel."""
    drawings = {name: images.reshape(DRAWERS, -1) / 255 for name, images in store.parts()}
    errors = []
    for run in RUNS:
        characters = [drawings[f"images_evaluation/{run.alphabet}/{name}"] for name in run.characters]
        wrong = 0
        for number, character in enumerate(characters):
            query = character[run.query_drawer - 1]
            distances = [np.square(query - other[run.support_drawer - 1]).sum() for other in characters]
            wrong += int(np.argmin(distances) != number)
        errors.append(wrong / 20)
    return errors


def test_the_error_of_a_run_is_that_of_its_queries_one_by_one(data, store):
    said = probabilities(ProtoNetModule(Pixels()), data, RUNS)
    assert said.shape == (20, 20, 20)
    torch.testing.assert_close(said.sum(-1), torch.ones(20, 20))
    expected = by_hand(store)
    assert 0.05 < np.mean(expected) < 0.6  # neither too easy to tell, nor too hard
    assert error_rates(said).tolist() == pytest.approx(expected)


class OneToOne(ProtoNetModule):
    """Gives each query of a task a class of its own, which is right more often than the nearest."""

    def predict(self, episode: Episode) -> Prediction:
        logits = super().predict(episode).outputs
        chosen = torch.full_like(logits, -1e3)
        for task, own in enumerate(logits):
            chosen[task][linear_sum_assignment(own, maximize=True)] = 0
        return Prediction(chosen)


def test_a_learner_that_judges_queries_together_never_sees_two(data, store):
    said = probabilities(OneToOne(Pixels()), data, RUNS)
    assert error_rates(said).tolist() == pytest.approx(by_hand(store))


def test_outputs_that_are_not_finite_have_no_error():
    said = torch.eye(20).repeat(2, 1, 1)
    said[1, 3, 7] = torch.nan
    first, second = error_rates(said).tolist()
    assert first == 0
    assert np.isnan(second)


@pytest.fixture(scope="module")
def learners(data: OmniglotDataModule, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The checkpoints of two prototypical networks, trained for two steps by the recipe for Lake's runs."""
    root = tmp_path_factory.mktemp("learners")
    for seed in (0, 1):
        main(["fit", "--config=omniglot_lake", "--data.val_alphabets=0", "--trainer.limit_val_batches=0",
              f"--name=seed{seed}", f"--seed_everything={seed}", *TINY, *SMALL_NETWORK,
              f"--trainer.default_root_dir={root}", "--trainer.logger=false"])  # fmt: skip
    return [root / "checkpoints" / f"seed{seed}" / "last.ckpt" for seed in (0, 1)]


def test_checkpoints_are_tested_beside_people_and_together(learners, tmp_path, capsys):
    first, second = learners
    main(["lake", f"--ckpt_paths=[{first},{second}]", "--ensemble=true", f"--folder={tmp_path}", "--accelerator=cpu"])
    ours, theirs, mean, ensemble = json.loads((tmp_path / "lake.json").read_text())
    assert [row["name"] for row in (ours, theirs, mean, ensemble)] == ["seed0", "seed1", "mean of the 2",
                                                                       "ensemble of the 2"]  # fmt: skip
    assert ours["errors"] != theirs["errors"]
    assert mean["errors"] == pytest.approx(np.mean([ours["errors"], theirs["errors"]], axis=0))
    for row in (ours, theirs, mean, ensemble):
        assert row["runs"] == len(row["errors"]) == 20
        assert row["error"] == pytest.approx(np.mean(row["errors"]))
        assert row["ci95"] == pytest.approx(2.093 * np.std(row["errors"], ddof=1) / 20**0.5, rel=1e-4)  # Student's t
    lines = list(csv.DictReader((tmp_path / "lake.csv").open()))
    assert len(lines) == 4 * 20
    assert (lines[0]["name"], lines[0]["run"], lines[0]["alphabet"]) == ("seed0", "1", "Atlantean")
    assert [float(line["error"]) for line in lines[:20]] == pytest.approx(ours["errors"])
    screen = capsys.readouterr().out
    for part in (f"{ours['error']:.2%} ± {ours['ci95']:.2%}", "people (published)", "4.5%", "3.3%", "13.7%"):
        assert part in screen


def test_twice_the_same_learner_is_no_better_together(learners, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(learners[0].read_bytes())
    main(["lake", f"--ckpt_paths=[{learners[0]},{copy}]", "--ensemble=true", f"--folder={tmp_path}"])
    one, other, mean, ensemble = json.loads((tmp_path / "lake.json").read_text())
    assert one["errors"] == other["errors"] == mean["errors"] == ensemble["errors"]
    assert (one["weights"], one["name"]) == (other["weights"], "seed0/last")


def test_what_a_checkpoint_learned_is_what_is_tested(learners, data, tmp_path):
    main(["lake", f"--ckpt_paths=[{learners[0]}]", f"--folder={tmp_path}"])
    (row,) = json.loads((tmp_path / "lake.json").read_text())
    module = ProtoNetModule.load_from_checkpoint(learners[0])
    assert row["errors"] == pytest.approx(error_rates(probabilities(module, data, RUNS)).tolist())


def test_a_learner_with_a_head_of_twenty_outputs_is_adapted_and_tested(data, tmp_path):
    main(["fit", "--config=omniglot_maml", "--name=mine", *TINY, *SMALL_NETWORK, "--model.record=false",
          "--data.split=lake", "--data.val_alphabets=0", "--data.ways=20", "--trainer.limit_val_batches=0",
          f"--trainer.default_root_dir={tmp_path}", "--trainer.logger=false"])  # fmt: skip
    words = ["lake", f"--ckpt_paths=[{last(tmp_path)}]", f"--folder={tmp_path}"]
    found = []
    for steps in (0, 3):
        main([*words, "--model.batch_norm=inductive", f"--model.test_adaptation_steps={steps}"])
        (row,) = json.loads((tmp_path / "lake.json").read_text())
        found.append(row["errors"])
    assert all(0 <= error <= 1 for errors in found for error in errors)
    assert found[0] != found[1]


def test_who_cannot_take_part_is_refused_in_one_line(learners, protonet, tmp_path, fails):
    assert "give some, as in --ckpt_paths [a.ckpt,b.ckpt]" in fails("lake", "--ckpt_paths=[]")
    alone = fails("lake", f"--ckpt_paths=[{learners[0]}]", "--ensemble=true")
    assert "an ensemble needs at least two checkpoints" in alone
    place = f"--folder={tmp_path / 'lake'}"
    seen = fails("lake", "--ckpt_paths=[pretrained/protonet_5w1s]", place)
    assert "of the 1100 classes that it was trained on are not of the background alphabets" in seen
    assert "--data.split lake" in seen
    assert "head has 5 outputs and cannot judge 20-way" in fails("lake", "--ckpt_paths=[pretrained/maml_5w1s]", place)
    glyphs = fails("lake", f"--ckpt_paths=[{protonet}]", place)
    assert "Lake's runs are of Omniglot, and the checkpoint's data GlyphsDataModule" in glyphs
    (tmp_path / "file").touch()
    assert "cannot be used" in fails("lake", f"--ckpt_paths=[{learners[0]}]", f"--folder={tmp_path / 'file'}")


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_refused(learners, tmp_path, fails):
    checkpoint = torch.load(learners[0])
    del checkpoint["OmniglotDataModule"]
    torch.save(checkpoint, tmp_path / "silent.ckpt")
    words = ["lake", f"--ckpt_paths=[{tmp_path / 'silent.ckpt'}]", f"--folder={tmp_path}"]
    assert "what it remembers of its data" in fails(*words)
