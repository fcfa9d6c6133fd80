"""A training whose numbers are not finite any more stops, and nothing is kept of it."""

from types import SimpleNamespace

import pytest
import torch
from helpers import TINY, best, quiet_trainer

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.errors import FewShotError
from fewshot.objectives import REGRESSION
from fewshot.runs.finite import StopWhereNotFinite
from fewshot.runs.keeping import BestCheckpoint

WORDS = ["fit", "--config=sinusoid_maml", "--model.record=false", *TINY, "--trainer.logger=false",
         "--trainer.max_steps=8"]  # fmt: skip


@pytest.fixture
def started(tmp_path):
    """A run after two outer steps, and the words that go on with it."""
    place = [f"--trainer.default_root_dir={tmp_path}", "--trainer.val_check_interval=2", "--ckpt_path=last"]
    main([*WORDS, *place, "--trainer.max_steps=2"])
    folder = best(tmp_path, "sinusoid_maml").parent
    return folder, {file: file.read_bytes() for file in folder.iterdir()}, [*WORDS, *place]


def test_a_loss_that_is_not_finite(started, fails):
    folder, before, words = started
    message = fails(*words, "--model.inner_lr=1e30")
    assert message.startswith("the loss is not finite at outer step 3: training has stopped, and keeps what was saved")
    assert message.endswith("try a smaller --model.inner_lr or --model.meta_lr, or --trainer.gradient_clip_val 10")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_gradient_or_a_weight_that_is_not_finite(started, fails, monkeypatch):
    folder, before, words = started
    really = EpisodicModule.training_step

    def step(module, *args):
        loss = really(module, *args)
        if module.global_step == 3:  # its value stays, its gradient is infinite
            weight = module.network.head.bias
            return loss + (torch.sqrt(weight - weight.detach()) * 0).sum().nan_to_num()
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(EpisodicModule, "training_step", step)
        assert fails(*words).startswith("the gradient is not finite at outer step 4: training has stopped")
    message = fails(*words, "--model.optimizer=SGD", "--model.meta_lr=1e38", "--name=other", "--ckpt_path=last")
    assert "is not finite" in message
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_learner_that_is_not_finite_is_not_tested(started, tmp_path, fails):
    folder, *_ = started
    checkpoint = torch.load(folder / "last.ckpt")
    checkpoint["state_dict"]["network.head.bias"].fill_(float("nan"))
    torch.save(checkpoint, tmp_path / "wild.ckpt")
    place = f"--trainer.default_root_dir={tmp_path}"
    for words in (["test", place], ["fit", place, "--name=wild", "--trainer.max_steps=9"]):
        assert "network.head.bias is not finite: its training diverged" in fails(
            *words, f"--ckpt_path={tmp_path / 'wild.ckpt'}"
        )
    assert not list(tmp_path.glob("logs/*/test/*/test.json"))


def test_a_score_that_is_not_finite_is_never_the_best(tmp_path):
    best_so_far = BestCheckpoint(tmp_path, REGRESSION)
    assert best_so_far.check_monitor_top_k(quiet_trainer(), torch.tensor(9.0))
    for wild in (float("nan"), float("-inf")):
        assert not best_so_far.check_monitor_top_k(quiet_trainer(), torch.tensor(wild))


def test_many_gradients_in_float16_are_finite_though_their_sum_is_not():
    layer = torch.nn.Linear(1000, 100, bias=False, dtype=torch.float16)
    layer.weight.grad = torch.full_like(layer.weight, 4)
    learner = SimpleNamespace(device=torch.device("cpu"))
    trainer = SimpleNamespace(global_step=0, precision_plugin=None, world_size=1)
    StopWhereNotFinite().on_before_optimizer_step(trainer, learner, torch.optim.SGD(layer.parameters(), 0.1))
    layer.weight.grad[0, 0] = -torch.inf
    with pytest.raises(FewShotError, match="gradient"):
        StopWhereNotFinite().on_before_optimizer_step(trainer, learner, torch.optim.SGD(layer.parameters(), 0.1))
