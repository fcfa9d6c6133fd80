"""Runs that are cut off, resumed, or shared between processes end where one uninterrupted process ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import SMALL_NETWORK, TINY, best
from torch import Tensor

from fewshot import signals
from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.data import GlyphsDataModule
from fewshot.errors import FewShotError

STEP_LR = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=7"]
SCHEDULES = {"StepLR": STEP_LR, "cosine": ["--model.lr_scheduler=cosine"]}


@pytest.fixture(scope="module")
def data(omniglot: Path) -> list[str]:
    """The options of the data."""
    return ["--data=OmniglotDataModule", f"--data.root={omniglot}", "--name=mine", *SMALL_NETWORK, *TINY,
            "--data.meta_batch_size=4", "--trainer.logger=false"]  # fmt: skip


@pytest.fixture(scope="module")
def maml(data: list[str]) -> list[str]:
    """Trains a MAML."""
    return ["fit", "--model=MAMLModule", "--model.network=Conv4", "--model.learn_inner_lr=per-step", *data,
            "--trainer.max_steps=30", "--trainer.val_check_interval=10"]  # fmt: skip


@pytest.fixture(scope="module")
def reptile(data: list[str]) -> list[str]:
    """Trains a Reptile, whose inner Adam goes on from step to step."""
    return ["fit", "--model=ReptileModule", "--model.network=Conv4", "--model.test_adaptation_steps=2", *data,
            "--data.shots=3", "--data.queries=1"]  # fmt: skip


def last(root: Path) -> Path:
    return best(root, "mine").with_name("last.ckpt")


def state(root: Path) -> dict:
    return torch.load(last(root), weights_only=True)


def tensors(nested: object, path: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state, by their path."""
    if isinstance(nested, Tensor):
        return {path: nested}
    pairs = nested.items() if isinstance(nested, dict) else enumerate(nested) if isinstance(nested, list) else ()
    return {name: value for key, part in pairs for name, value in tensors(part, f"{path}/{key}").items()}


def callbacks(checkpoint: dict) -> dict[str, object]:
    """The best score, and of what."""
    (state,) = (state for key, state in checkpoint["callbacks"].items() if "val/accuracy" in key)
    return {name: state[name] for name in ("best_model_score", "validations")}


def same(one: dict, other: dict) -> None:
    """Weights, learned rates, optimiser and schedule, bit for bit."""
    for part in ("state_dict", "optimizer_states"):
        ours, theirs = tensors(one[part]), tensors(other[part])
        assert len(ours) == len(theirs)
        assert ours or part == "optimizer_states"  # plain SGD has none
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert one["global_step"] == other["global_step"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, maml: list[str]) -> dict[str, dict]:
    """Where a run of thirty outer steps ends, by its schedule."""
    states = {}
    for name, schedule in SCHEDULES.items():
        root = tmp_path_factory.mktemp(name)
        main([*maml, *schedule, f"--trainer.default_root_dir={root}"])
        states[name], states[f"best of {name}"] = state(root), torch.load(best(root, "mine"))
    return states


def test_a_run_that_was_killed_resumes_bit_for_bit(uninterrupted, maml, tmp_path):
    (tmp_path / "killer.py").write_text(
        "import os, signal\n"
        "from pytorch_lightning import Callback\n"
        "class Killer(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        if trainer.global_step == 25:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    words = [*maml, *SCHEDULES["cosine"], f"--trainer.default_root_dir={tmp_path}"]
    command = [sys.executable, "-m", "fewshot", *words, "--trainer.callbacks+=killer.Killer"]
    killed = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert killed.returncode == -signal.SIGKILL
    assert state(tmp_path)["global_step"] == 20  # of the last validation
    main([*words, f"--ckpt_path={last(tmp_path)}"])
    same(state(tmp_path), uninterrupted["cosine"])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_that_was_told_to_end_resumes_bit_for_bit(schedule, uninterrupted, maml, tmp_path, interrupt, capsys):
    words = [*maml, *SCHEDULES[schedule], f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"]
    ends = {"StepLR": {5: signal.SIGINT, 15: signal.SIGTERM}, "cosine": {20: signal.SIGHUP, 22: signal.SIGUSR1}}
    for step, number in ends[schedule].items():  # the 20th is followed by a validation
        interrupt(words, step, number)
        assert state(tmp_path)["global_step"] == step
        told = capsys.readouterr().out
        assert f"Stopped by {signal.Signals(number).name} after outer step {step}. To go on: fewshot fit " in told
        assert told.rstrip().endswith(f" --ckpt_path {last(tmp_path)}")
    main(words)
    same(state(tmp_path), uninterrupted[schedule])
    same(torch.load(best(tmp_path, "mine")), uninterrupted[f"best of {schedule}"])
    assert callbacks(state(tmp_path)) == callbacks(uninterrupted[schedule])
    main(words)
    assert "has taken all 30 outer steps: there is nothing to do" in capsys.readouterr().out


def test_a_second_signal_ends_the_process_at_once():
    child = os.fork()
    if child == 0:
        with signals.stoppable():
            signals.wait(True)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_what_was_started_to_be_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with signals.stoppable():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(signals.Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143
    signal.signal(signal.SIGHUP, before)


def test_the_last_state_is_renewed_between_validations_too(maml, tmp_path, monkeypatch):
    """Killed, in effect, after the 13th outer step, where the last validation was the 10th."""
    words = [*maml, *STEP_LR, f"--trainer.default_root_dir={tmp_path}", "--checkpoint_minutes=0"]
    really = EpisodicModule.training_step

    def step(module: EpisodicModule, *args: object) -> object:
        if module.global_step == 13:
            raise FewShotError("the lights went out")
        return really(module, *args)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodicModule, "training_step", step)
        with pytest.raises(SystemExit):
            main(words)
    assert state(tmp_path)["global_step"] == 13


def test_a_finished_run_goes_on_as_if_it_had_not_stopped(uninterrupted, maml, tmp_path):
    words = [*maml, *STEP_LR, f"--trainer.default_root_dir={tmp_path}"]
    main([*words, "--trainer.max_steps=15"])  # stops between two validations
    assert state(tmp_path)["global_step"] == 15
    main([*words, f"--ckpt_path={last(tmp_path)}"])
    same(state(tmp_path), uninterrupted["StepLR"])


def test_reptiles_moments_are_resumed_too(reptile, tmp_path):
    states = []
    for stops in ((4,), (2, 4)):
        place = tmp_path / str(len(stops))
        for stop in stops:
            resumed = [f"--ckpt_path={last(place)}"] if last(place).exists() else []
            main([*reptile, *STEP_LR, f"--trainer.default_root_dir={place}", f"--trainer.max_steps={stop}", *resumed])
        states.append(state(place))
    same(*states)
    assert states[0]["state_dict"]["inner_optimizer.count"] == 4 * 5


def test_resuming_tells_what_is_different(trained, tmp_path, capsys):
    checkpoint = best(trained).with_name("last.ckpt")
    words = ["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK]
    words += [f"--ckpt_path={checkpoint}", "--trainer.max_steps=3", "--trainer.logger=false"]
    main(words)
    assert "Resuming with" not in capsys.readouterr().out
    main([*words, "--overwrite=true", "--model.meta_lr=0.01", "--data.meta_batch_size=4"])
    screen = capsys.readouterr().out
    assert "Resuming with model.meta_lr = 0.01; the checkpoint had 0.001." in screen
    assert "Resuming with data.meta_batch_size = 4; the checkpoint had 2." in screen


def test_two_processes_take_the_same_outer_steps_as_one(maml, reptile, tmp_path):
    """Four tasks on one process, and two on each of two, in float64: the same weights up to the order of sums."""
    (tmp_path / "commands.py").write_text(
        "import json, sys\n"
        "from fewshot.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"  # both in one start of two processes, which takes ten seconds
        "    main(words)\n"
    )
    options = [*STEP_LR, "--trainer.max_steps=3", "--trainer.precision=64-true", "--trainer.accelerator=cpu"]
    learners = {"maml": [*maml, *options], "reptile": [*reptile, *options]}
    for name, words in learners.items():
        main([*words, f"--trainer.default_root_dir={tmp_path / 'one' / name}", "--trainer.devices=1"])
    two = [
        [*words, f"--trainer.default_root_dir={tmp_path / 'two' / name}", "--trainer.devices=2",
         "--trainer.strategy=ddp"]
        for name, words in learners.items()
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "commands", json.dumps(two)], check=True, capture_output=True, timeout=300,
                   env={**os.environ, "PYTHONPATH": str(tmp_path)})  # fmt: skip
    for learner in learners:
        ours, theirs = (tensors(state(tmp_path / place / learner)["state_dict"]) for place in ("one", "two"))
        for name, value in ours.items():
            # Adam divides by the root of squared gradients: rounding of 1e-16 grows, by the third step to some 1e-10.
            torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9, msg=f"{learner}: {name}")


def test_tasks_that_cannot_be_shared_out_are_refused():
    data = GlyphsDataModule(meta_batch_size=3)
    data.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(FewShotError, match=r"3 tasks \(meta_batch_size\) cannot be shared out evenly over 2 devices"):
        data.setup("fit")
