"""Runs that are shared between processes end where those of one process end, also if one of them is told to end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import same, state, tensors

from fewshot.cli import main
from fewshot.data import GlyphsDataModule
from fewshot.errors import FewShotError

# Several commands in one start of two processes, which takes seconds; each process keeps the statuses of its own.
COMMANDS = """
import json, os, signal, sys
from pathlib import Path
from pytorch_lightning import Callback
from fewshot.cli import main

class ToldToEnd(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

if __name__ == "__main__":
    statuses = []
    for words in json.loads(sys.argv[1]):
        rank = os.environ.get("LOCAL_RANK", "0")
        try:
            main([word.replace("RANK", rank) for word in words])
            statuses.append(0)
        except SystemExit as end:
            statuses.append(end.code)
        Path(__file__).with_name(rank).write_text(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def learners(maml: list[str], reptile: list[str]) -> dict[str, list[str]]:
    """What two learners are trained by, for three outer steps."""
    options = ["--trainer.max_steps=3", "--trainer.precision=64-true", "--trainer.accelerator=cpu"]
    schedule = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=2"]
    return {name: [*words, *options, *schedule] for name, words in {"maml": maml, "reptile": reptile}.items()}


@pytest.fixture(scope="module")
def one(learners: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process has trained."""
    place = tmp_path_factory.mktemp("one")
    for name, words in learners.items():
        main([*words, f"--trainer.default_root_dir={place / name}", "--trainer.devices=1"])
    return place


@pytest.fixture(scope="module")
def two(learners: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What two processes have trained, their statuses, and what they said on stderr."""
    place = tmp_path_factory.mktemp("two")
    (place / "commands.py").write_text(COMMANDS)
    options = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    maml = [*learners["maml"], *options, "--ckpt_path=last"]
    commands = [
        *([*words, *options, f"--trainer.default_root_dir={place / name}"] for name, words in learners.items()),
        [*maml, f"--trainer.default_root_dir={place}/cut/rank 0", "--trainer.callbacks+=commands.ToldToEnd"],
        [*maml, f"--trainer.default_root_dir={place}/cut/rank 0"],
        [*maml, f"--trainer.default_root_dir={place}/cut/rank RANK", "--trainer.max_steps=4"],
    ]
    run = subprocess.run([sys.executable, "-m", "commands", json.dumps(commands)], capture_output=True, text=True,
                         timeout=300, env={**os.environ, "PYTHONPATH": str(place)})  # fmt: skip
    statuses = [json.loads((place / rank).read_text()) for rank in "01"]
    return SimpleNamespace(place=place, statuses=statuses, errors=run.stderr)


def test_two_processes_take_the_same_outer_steps_as_one(one, two, learners):
    """Four tasks on one process, and two on each of two, in float64: the same weights up to the order of sums."""
    for learner in learners:
        ours, theirs = (tensors(state(place / learner)["state_dict"]) for place in (one, two.place))
        for name, value in ours.items():
            # Adam divides by the root of squared gradients: rounding of 1e-16 grows, by the third step to some 1e-10.
            torch.testing.assert_close(value, theirs[name], rtol=1e-7, atol=1e-9, msg=f"{learner}: {name}")


def test_if_one_process_is_told_to_end_all_do_and_resume_bit_for_bit(two):
    assert [statuses[2:4] for statuses in two.statuses] == [[143, 0], [143, 0]]
    same(state(two.place / "cut" / "rank 0"), state(two.place / "maml"))


def test_processes_that_find_different_checkpoints_are_refused(two):
    """The first one finds what it has written, the other one has a folder of its own."""
    assert (
        "fewshot: error: the first process begins after 3 outer steps, and others after another number: all machines "
        "must find the same checkpoint, on a file system that they share"
    ) in two.errors.splitlines()
    assert two.statuses[0][4:] == [2]


def test_tasks_that_cannot_be_shared_out_are_refused():
    data = GlyphsDataModule(meta_batch_size=3)
    data.trainer = SimpleNamespace(world_size=2, limit_val_batches=1.0)
    with pytest.raises(FewShotError, match=r"3 tasks \(meta_batch_size\) cannot be shared out evenly over 2 devices"):
        data.setup("fit")
