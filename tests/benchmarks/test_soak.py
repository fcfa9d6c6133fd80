"""The soak starts the real command line, and sees what is lost."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import REPOSITORY

from benchmarks.soak.__main__ import Outcome, summary, tell
from benchmarks.soak.case import Case, Lost
from benchmarks.soak.command import Done
from benchmarks.soak.runs import difference


def test_one_case_is_repeated_alone_and_counted(tmp_path):
    command = [sys.executable, "-m", "benchmarks.soak", "--only=bytes:9", f"--folder={tmp_path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| bytes | 1 | 1 | 1 | 0 |" in done.stdout
    result = json.loads((tmp_path / "soak.json").read_text())
    assert result["rows"] == [{"kind": "bytes", "attacks": 1, "cases": 1, "survived": 1, "lost": 0}]
    assert list((tmp_path / "cases" / "bytes-9").glob("*.err"))  # it ran


@pytest.mark.parametrize(
    ("status", "err", "lost"),
    [
        (0, "", None),
        (2, "a warning\nfewshot: error: no", None),
        (-9, "", None),
        (2, "fewshot: error: no\nfewshot: error: no", "not one line at the end"),
        (2, "usage", "not one line at the end"),
        (1, "oh", "status 1"),
        (2, "Traceback\nfewshot: error: no", "a traceback"),
        (None, "", "hangs"),
    ],
)
def test_a_command_may_end_in_success_or_in_one_line(status, err, lost, tmp_path):
    class Ended:
        def wait(self, limit: float) -> Done:
            return Done(["fit"], status, "", err, 0.1)

    case = Case(tmp_path, 0, "kill", 0)
    if lost is None:
        case.ended(Ended())
    else:
        with pytest.raises(Lost, match=f"{lost}.*fewshot fit"):
            case.ended(Ended())


def test_one_bit_makes_a_difference():
    ours = {"weights": [torch.zeros(2), torch.tensor(float("nan"))], "step": 3}
    assert difference(ours, {"weights": [torch.zeros(2), torch.tensor(float("nan"))], "step": 3}) is None
    assert difference(ours, {"weights": [-torch.zeros(2), torch.tensor(float("nan"))], "step": 3}) == "/weights/0"
    assert difference(ours, {**ours, "step": 4}) == "/step: 3, not 4"
    assert difference(ours, {"weights": []}) == ": ['step']"


def test_what_is_lost_is_told_with_the_words_that_repeat_it(capsys):
    outcomes = [Outcome("kill", 0, 3, 1.0, None), Outcome("kill", 7, 2, 1.0, "best.ckpt is damaged")]
    for outcome in outcomes:
        tell(outcome, seed=5)
    assert summary(outcomes) == [{"kind": "kill", "attacks": 5, "cases": 2, "survived": 1, "lost": 1}]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "LOST kill 7: best.ckpt is damaged",
        "     again: python -m benchmarks.soak --seed 5 --only kill:7",
    ]
