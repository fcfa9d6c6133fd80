"""Runs that are cut off, resumed, or shared between processes end where one uninterrupted process ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPOSITORY
from torch import Tensor

from fewshot.cli import main
from fewshot.data import GlyphsDataModule
from fewshot.errors import FewShotError

FIT = [
    "fit", "--config=configs/glyphs_maml.yaml", "--model.learn_inner_lr=per-step", "--data.meta_batch_size=4",
    "--data.val_episodes=4", "--trainer.enable_progress_bar=false", "--trainer.logger=false",
    "--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=7",
]  # fmt: skip


REPTILE = [
    "fit", "--model=ReptileModule", "--model.network=Conv4", "--model.network.channels=8", "--data=GlyphsDataModule",
    "--data.shots=3", "--data.queries=1", "--data.meta_batch_size=4", "--data.val_episodes=4", "--name=glyphs_maml",
    "--model.test_adaptation_steps=2", "--trainer.enable_progress_bar=false", "--trainer.logger=false",
    "--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=7",
]  # fmt: skip


def state(root: Path) -> dict:
    return torch.load(root / "checkpoints" / "glyphs_maml" / "last.ckpt", weights_only=True)


def tensors(nested: object, path: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state, by their path."""
    if isinstance(nested, Tensor):
        return {path: nested}
    pairs = nested.items() if isinstance(nested, dict) else enumerate(nested) if isinstance(nested, list) else ()
    return {name: value for key, part in pairs for name, value in tensors(part, f"{path}/{key}").items()}


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
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("uninterrupted")
    main([*FIT, f"--trainer.default_root_dir={root}", "--trainer.max_steps=30", "--trainer.val_check_interval=10"])
    return state(root)


def test_a_run_that_was_killed_resumes_bit_for_bit(uninterrupted, tmp_path):
    options = [*FIT, f"--trainer.default_root_dir={tmp_path}", "--trainer.val_check_interval=10"]
    last = tmp_path / "checkpoints" / "glyphs_maml" / "last.ckpt"
    with subprocess.Popen(
        [sys.executable, "-m", "fewshot", *options, "--trainer.max_steps=100000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=REPOSITORY,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 300
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert state(tmp_path)["global_step"] in (10, 20)
    main([*options, "--trainer.max_steps=30", f"--ckpt_path={last}"])
    same(state(tmp_path), uninterrupted)


def test_a_finished_run_goes_on_as_if_it_had_not_stopped(uninterrupted, tmp_path):
    options = [*FIT, f"--trainer.default_root_dir={tmp_path}", "--trainer.val_check_interval=10"]
    main([*options, "--trainer.max_steps=15"])  # stops between two validations
    last = tmp_path / "checkpoints" / "glyphs_maml" / "last.ckpt"
    assert state(tmp_path)["global_step"] == 15
    main([*options, "--trainer.max_steps=30", f"--ckpt_path={last}"])
    same(state(tmp_path), uninterrupted)


def test_reptiles_moments_are_resumed_too(tmp_path):
    states = []
    for stops in ((4,), (2, 4)):
        place = tmp_path / str(len(stops))
        last = place / "checkpoints" / "glyphs_maml" / "last.ckpt"
        for stop in stops:
            resumed = [f"--ckpt_path={last}"] if last.exists() else []
            main([*REPTILE, f"--trainer.default_root_dir={place}", f"--trainer.max_steps={stop}", *resumed])
        states.append(state(place))
    same(*states)
    assert states[0]["state_dict"]["inner_optimizer.count"] == 4 * 5


@pytest.mark.parametrize("learner", [FIT, REPTILE], ids=["maml", "reptile"])
def test_two_processes_take_the_same_outer_steps_as_one(tmp_path, learner):
    """Four tasks on one process, and two on each of two, in float64: the same weights up to the order of sums."""
    options = [*learner, "--trainer.max_steps=3", "--trainer.precision=64-true", "--trainer.accelerator=cpu"]
    states = []
    for devices in (1, 2):
        root = tmp_path / str(devices)
        words = [*options, f"--trainer.devices={devices}", f"--trainer.default_root_dir={root}"]
        if devices == 1:
            main(words)
        else:
            command = [sys.executable, "-m", "fewshot", *words, "--trainer.strategy=ddp"]
            subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, timeout=300)
        states.append(state(root))
    ours, theirs = (tensors(one["state_dict"]) for one in states)
    for name, value in ours.items():
        # Adam divides by the root of squared gradients: rounding of 1e-16 grows, by the third step to some 1e-10.
        torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9)


def test_tasks_that_cannot_be_shared_out_are_refused():
    data = GlyphsDataModule(meta_batch_size=3)
    data.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(FewShotError, match=r"3 tasks \(meta_batch_size\) cannot be shared out evenly over 2 devices"):
        data.setup("fit")
