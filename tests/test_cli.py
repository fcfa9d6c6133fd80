"""The front door: help, commands, and what is said where a library is missing or does not fit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, TINY

from fewshot.cli import COMMANDS, RUNS, imported, main
from fewshot.signals import Stopped


def words_of_help(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The help, its lines joined."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as status:
        main(list(args))
    assert status.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_explains_options_in_words(capsys):
    main([])
    front = capsys.readouterr().out
    assert [line.split()[0] for line in front.splitlines() if line.startswith("  ")] == [*RUNS, *COMMANDS]
    assert max(map(len, front.splitlines())) < 80
    fit = words_of_help(capsys, "fit", "--help")
    places = [fit.index(option) for option in ("--name ", "--ckpt_path CKPT", "--model.help [", "--trainer.max_steps")]
    assert places == sorted(places)
    maml = words_of_help(capsys, "fit", "--model.help", "MAMLModule")
    assert "Inner gradient steps in training" in maml
    assert "https://arxiv.org/abs/1909.09157" in maml
    data = words_of_help(capsys, "fit", "--data.help", "OmniglotDataModule")
    assert all(option in data for option in ("--data.root", "--data.test_shots", "Tasks per outer step"))
    learners = words_of_help(capsys, "fit", "--model.help")
    assert "MAMLModule MAML: learns initial weights from which" in learners
    assert "AdaptingModule" not in learners  # abstract
    assert "SinusoidDataModule Regression of sinusoids" in words_of_help(capsys, "test", "--data.help")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command, capsys):
    screen = words_of_help(capsys, command, "--help")
    assert f"usage: fewshot {command}" in screen
    assert "Args:" not in screen
    readme = (REPOSITORY / "README.md").read_text()
    assert f"fewshot {command}" in readme or f"make {command}" in readme


@pytest.mark.parametrize(("command", "goes_on"), [("sweep", True), ("reuse", False)])
def test_what_goes_on_where_it_was_interrupted_says_so(command, goes_on, capsys, monkeypatch):
    def interrupted(ckpt_paths: list[str]) -> None:
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(imported(f"fewshot.{COMMANDS[command].home}"), command, interrupted)
    with pytest.raises(Stopped):
        main([command, "--ckpt_paths=[]"])
    assert ("The same command goes on" in capsys.readouterr().out) is goes_on


def test_a_command_that_there_is_not(fails):
    assert fails("swep") == "there is no command 'swep'; did you mean sweep?"
    assert fails("x") == "there is no command 'x'; fewshot --help lists them"
    assert fails("sweep", "--ckpt_path=a") == "--ckpt_path: there is no such option; did you mean --ckpt_paths?"


def test_what_is_mistyped_is_told_before_torch_is_imported():
    """In a process of its own, where nothing has been imported."""
    mistakes = [["swep"], ["fit"], ["fit", "--config=glyphs_mamll"], ["curves", "--run=a"], *(
        ["fit", "--config=glyphs_maml", word] for word in (
            "--trainer.max_step=3", "--model.inner_rate=1", "--data.shots=few", "--model=Maml", "--trainer.max_steps=x"
        )
    )]  # fmt: skip
    code = f"""
import sys
from fewshot.cli import main
for words in {mistakes}:
    try:
        main(words)
    except SystemExit as refused:
        assert refused.code == 2, words
assert "torch" not in sys.modules
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stderr.splitlines()) == len(mistakes)


def test_the_front_door_opens_without_learn2learn_and_its_notice_is_not_printed():
    """In a process of its own, where nothing has been imported."""
    sinusoid = ["fit", "--config=sinusoid_maml", "--model.record=false", "--trainer.logger=false", *TINY]
    sequential = [*sinusoid, "--model.inner_loop=sequential", "--trainer.enable_checkpointing=false"]
    code = f"""
import sys
sys.modules["learn2learn"] = None
from fewshot.cli import main
try:
    main({sequential})
except SystemExit as refused:
    assert refused.code == 2
del sys.modules["learn2learn"]
print("--- now it is there", file=sys.stderr)
import fewshot.inner_loop.wrappers
assert "gym" in sys.modules
"""
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert shown.returncode == 0, shown.stderr
    without, _, after = shown.stderr.partition("--- now it is there\n")
    assert without.splitlines()[-1].startswith(
        "fewshot: error: the sequential inner loop needs learn2learn, which is not installed: "
    )
    assert after == ""  # gym would have its successor advertised


def test_a_torchvision_of_another_build_is_named(tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    shown = subprocess.run([sys.executable, "-m", "fewshot", "demo"], capture_output=True, text=True, env=environment)
    assert shown.returncode == 2
    (message,) = shown.stderr.splitlines()
    assert message.startswith(
        "fewshot: error: torch and torchvision are of different builds (operator torchvision::nms"
    )


def test_a_module_of_the_users_own_folder_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("from fewshot.algorithms import MAMLModule\nclass Mine(MAMLModule): pass\n")
    script = Path(sys.executable).with_name("fewshot")
    command = [script, "fit", "--model=mine.Mine", "--model.network=MLP", "--model.loss=mse",
               "--data=SinusoidDataModule", *TINY, "--trainer.limit_val_batches=1"]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (config,) = tmp_path.glob("logs/*/fit/version_0/config.yaml")
    assert "limit_val_batches: 1\n" in config.read_text()  # not 1.0, which is all of them
    (checkpoint,) = tmp_path.glob("checkpoints/*/best.ckpt")
    assert str(checkpoint.relative_to(tmp_path)) in shown.stdout
    assert checkpoint.parent.name == "sinusoid_mine"
