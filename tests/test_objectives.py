"""Losses and metrics by hand, which way is better, and which learners and data go together."""

import math

import pytest
import torch
from helpers import REPOSITORY, TINY

from fewshot.errors import FewShotError
from fewshot.evaluation import read_curve
from fewshot.evaluation.compare import paired
from fewshot.objectives import OBJECTIVES
from fewshot.runs import run

SINUSOID, GLYPHS = (f"--config={REPOSITORY / 'configs' / name}.yaml" for name in ("sinusoid_maml", "glyphs_maml"))


def test_accuracy_is_per_task_and_loss_over_all():
    logits = torch.tensor([[[2.0, 0.0], [2.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]]])
    labels = torch.tensor([[0, 1], [1, 1]])
    objective = OBJECTIVES["cross-entropy"]
    assert objective.scores(logits, labels).tolist() == [0.5, 1.0]
    right = torch.log1p(torch.exp(torch.tensor(-2.0)))  # -log of softmax(2, 0) at its larger entry
    torch.testing.assert_close(objective.loss(logits, labels), (3 * right + right + 2) / 4)


def test_a_squared_error_is_per_task_and_loss_over_all():
    outputs = torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
    targets = torch.tensor([[[1.0], [0.0]], [[0.0], [0.0]]])
    assert OBJECTIVES["mse"].scores(outputs, targets).tolist() == [2.0, 4.5]
    assert OBJECTIVES["mse"].loss(outputs, targets) == 3.25


def test_another_number_of_outputs_than_of_targets_is_refused():
    with pytest.raises(FewShotError, match="the learner has 5 outputs per example, and a target has 1 numbers"):
        OBJECTIVES["mse"].loss(torch.zeros(2, 3, 5), torch.zeros(2, 3, 1))


def test_a_task_whose_outputs_are_not_finite_has_no_score():
    outputs = torch.zeros(3, 2, 2)
    outputs[1, 0, 1] = math.nan
    outputs[2, 1, 0] = math.inf
    labels = torch.zeros(3, 2, dtype=torch.long)
    scores = OBJECTIVES["cross-entropy"].judge(outputs, labels)
    assert scores[0] == 1
    assert scores.isnan().tolist() == [False, True, True]  # not the accuracy of always choosing the first class
    assert OBJECTIVES["cross-entropy"].show(scores.mean().item(), math.nan) == "not finite"


def test_scores_are_shown_in_their_units():
    assert OBJECTIVES["cross-entropy"].show(0.9712, 0.0034) == "97.12% ± 0.34%"
    assert OBJECTIVES["mse"].show(0.3456, 0.0214) == "0.346 ± 0.021"
    assert OBJECTIVES["cross-entropy"].difference(0.0012, 0.0034) == "+0.12 ± 0.34"
    assert OBJECTIVES["mse"].difference(-0.2, 0.1) == "-0.200 ± 0.100"
    assert OBJECTIVES["mse"].show(0.3456, None) == "0.346"
    assert OBJECTIVES["mse"].difference(math.nan, math.nan) == "not finite"


def test_the_lowest_error_is_the_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli = run(["fit", SINUSOID, *TINY, "--trainer.val_check_interval=1", "--model.record=false"])
    best = cli.trainer.checkpoint_callback
    errors = read_curve("logs/sinusoid_maml", "val/mse").values
    assert len(errors) == 2
    assert best.best_model_score.item() == pytest.approx(min(errors))
    assert best.mode == "min"


def row(name: str, scores: list[float]) -> dict:
    return {"name": name, "knob": "shots", "value": 5, "metric": "mse", "mse": sum(scores) / 4, "scores": scores}


def test_the_lower_error_is_ahead():
    (pair,) = paired([row("a", [0.1, 0.2, 0.1, 0.2]), row("b", [0.9, 1.0, 0.8, 1.1])])
    assert (pair["difference"], pair["verdict"]) == (pytest.approx(-0.8), "a is ahead")
    (pair,) = paired([row("a", [0.1, 0.2, 0.1, 0.2]), row("b", [0.9, 1.0, 0.8, math.nan])])
    assert pair["verdict"] == "not finite"


def test_a_learner_of_labels_and_targets_that_are_numbers_do_not_go_together(fails, tmp_path):
    place = [*TINY, f"--trainer.default_root_dir={tmp_path}"]
    message = "MAMLModule learns to classify (loss cross-entropy), and SinusoidDataModule has other targets"
    assert message in fails("fit", SINUSOID, "--model.loss=cross-entropy", *place)
    prototypes = ["--model=ProtoNetModule", "--model.network=MLP"]
    assert "ProtoNetModule learns to classify" in fails("fit", SINUSOID, *prototypes, *place)
    message = "MAMLModule learns a regression (loss mse), and GlyphsDataModule has other targets"
    assert message in fails("fit", GLYPHS, "--model.loss=mse", *place)
    assert not list(tmp_path.iterdir())
