"""Runs that are cut off and resumed end where an uninterrupted one ends."""

import os
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from helpers import REPOSITORY, SMALL_NETWORK, TINY, best, last, same, state

from fewshot import signals
from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.errors import FewShotError
from fewshot.runs import run
from fewshot.runs.outcome import how_to_go_on

STEP_LR = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=7"]
SCHEDULES = {"StepLR": STEP_LR, "cosine": ["--model.lr_scheduler=cosine"]}


def callbacks(checkpoint: dict) -> dict[str, object]:
    """The best score, and of what."""
    (state,) = (state for key, state in checkpoint["callbacks"].items() if "val/accuracy" in key)
    return {name: state[name] for name in ("best_model_score", "validations")}


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
        stopped = f"Stopped by {signal.Signals(number).name} after outer step {step}, which {last(tmp_path)} holds.\n"
        assert f"{stopped}To go on: fewshot fit " in told
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


def test_outer_steps_of_several_batches_are_resumed_whole(maml, tmp_path):
    states = []
    for stops in ((6,), (3, 6)):  # validated every three outer steps of two batches each
        words = [*maml, *STEP_LR, f"--trainer.default_root_dir={tmp_path / str(len(stops))}", "--ckpt_path=last",
                 "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=3"]  # fmt: skip
        for stop in stops:
            main([*words, f"--trainer.max_steps={stop}"])
        states.append(state(tmp_path / str(len(stops))))
    same(*states)


def test_what_is_drawn_for_an_outer_step_is_drawn_again(tmp_path):
    augment = "[{class_path: fewshot.data.augment.RandomAffine, init_args: {degrees: 30, translate: 0.1}}]"
    states = []
    for changes, stops in (("null", (4,)), (augment, (4,)), (augment, (3, 4))):
        place = tmp_path / str(len(states))
        words = ["fit", "--config=glyphs_protonet", "--name=mine", f"--data.augment={changes}", *TINY, *SMALL_NETWORK,
                 "--data.ways=5", f"--trainer.default_root_dir={place}", "--trainer.logger=false",
                 "--ckpt_path=last"]  # fmt: skip
        for stop in stops:
            main([*words, f"--trainer.max_steps={stop}"])
        states.append(state(place))
    plain, uninterrupted, resumed = states
    same(resumed, uninterrupted)
    with pytest.raises(AssertionError):
        same(plain, uninterrupted)


def test_data_of_ones_own_with_paths_go_on_with_the_same_words(tmp_path, monkeypatch, capsys):
    (tmp_path / "placed.py").write_text(
        "from torchvision.transforms.v2 import Transform\n"
        "from fewshot.data import GlyphsDataModule\n"
        "class Placed(GlyphsDataModule):\n"
        "    def __init__(self, folder: str, **episodes):\n"
        "        super().__init__(**episodes)\n"
        "class Noise(Transform):\n"
        "    def __init__(self, file: str): super().__init__()\n"
        "    def forward(self, images): return images\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    own = yaml.safe_load((REPOSITORY / "configs" / "glyphs_maml.yaml").read_text())
    noise = {"class_path": "placed.Noise", "init_args": {"file": "noise/a.png"}}
    own["data"] = {"class_path": "placed.Placed", "init_args": {"folder": "some/where", "augment": [noise]}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    words = ["fit", "--config=own.yaml", *TINY, *SMALL_NETWORK, "--trainer.logger=false", "--ckpt_path=last"]
    main([*words, "--trainer.max_steps=1"])
    assert "--data.folder some/where --trust '[placed]'" in capsys.readouterr().out  # what a test needs
    for name, steps in (("own", 2), ("other", 3)):  # a run that is renamed, with its config, goes on by its new name
        (tmp_path / "own.yaml").rename(tmp_path / f"{name}.yaml")
        (tmp_path / "checkpoints" / "own").rename(tmp_path / "checkpoints" / name)
        words[1] = f"--config={name}.yaml"
        main([*words, f"--trainer.max_steps={steps}"])
        assert torch.load(best(tmp_path, name).with_name("last.ckpt"))["global_step"] == steps


def test_in_python_a_run_that_was_stopped_does_not_stop_the_next_one(tmp_path, monkeypatch):
    words = ["fit", "--config=sinusoid_maml", "--model.record=false", *TINY, "--trainer.logger=false",
             f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=4"]  # fmt: skip
    really = EpisodicModule.training_step

    def step(module: EpisodicModule, *args: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return really(module, *args)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodicModule, "training_step", step)
        with pytest.raises(signals.Stopped):
            run(words)
    assert run([*words, "--ckpt_path=last"]).trainer.global_step == 4


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


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (["--model.optimizer=AdamW"], ["--model.optimizer.weight_decay=0.5"], "optimizer.weight_decay = 0.5"),
        (STEP_LR, ["--model.meta_lr=0.01"], "meta_lr = 0.01"),
        (STEP_LR, ["--model.lr_scheduler.step_size=9"], "lr_scheduler.step_size = 9"),
    ],
)
def test_what_the_state_of_the_optimiser_would_undo_is_refused(before, after, refused, tmp_path, fails):
    place = [f"--trainer.default_root_dir={tmp_path}", "--trainer.logger=false", "--name=mine"]
    words = ["fit", "--config=sinusoid_maml", *place, "--data.val_episodes=2", *before]
    main([*words, "--trainer.max_steps=1"])
    told = fails(*words, *after, "--ckpt_path=last", "--trainer.max_steps=2")
    assert f"cannot go on with model.{refused}; the checkpoint had" in told


def test_a_stop_before_anything_was_saved_says_so(tmp_path):
    stopped = signals.Stopped(signal.SIGINT)
    assert how_to_go_on(stopped, 0, tmp_path, ["fit"]) == "Stopped by SIGINT before anything was saved."
    (tmp_path / "last.ckpt").touch()
    told = how_to_go_on(stopped, 0, tmp_path, ["fit"])
    assert told == f"Stopped by SIGINT before anything was saved: {tmp_path}/last.ckpt is as it was."
