"""The README's commands are run as they stand, made small by options behind them."""

import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, TINY

from fewshot.cli import main

README = (REPOSITORY / "README.md").read_text()
COMMANDS = "".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL)).splitlines()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def page(url: str, seconds: float) -> str:
    """The page at a local address, as soon as something answers there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(url).read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_the_commands_of_the_readme_work_in_their_order(tmp_path, monkeypatch, omniglot):
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pretrained").symlink_to(REPOSITORY / "checkpoints" / "pretrained")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSHOT_DATA", str(omniglot.parent))
    assert len(COMMANDS) == 15
    for number, command in enumerate(COMMANDS):
        program, *words = shlex.split(command)
        if program == "tensorboard":
            port = free_port()
            with subprocess.Popen(
                [sys.executable, "-m", "tensorboard.main", *words, f"--port={port}"], stderr=subprocess.DEVNULL
            ) as server:
                assert "TensorBoard" in page(f"http://127.0.0.1:{port}", seconds=60)
                server.terminate()
        elif words[0] == "test":
            main([*words, "--data.test_episodes=4", "--trainer.enable_progress_bar=false"])
        elif words[0] in ("sweep", "compare"):
            main([*words, "--data.test_episodes=4"])
        elif words[0] in ("curves", "export"):
            main(words)
        elif "gpu" not in words or torch.cuda.is_available():
            main([*words, *TINY, f"--trainer.max_steps={number + 2}"])
    assert len(list(Path("logs").glob("*/test/*/test.json"))) == 3
    assert torch.load("checkpoints/omniglot_maml/last.ckpt", weights_only=True)["global_step"] == 8
    assert len(json.loads(Path("logs/sweep_shots/results.json").read_text())) == 10
    assert Path("maml.ckpt").exists()


def test_the_python_of_the_readme_works(tmp_path, monkeypatch, omniglot, caplog):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    main(["fit", "--config=configs/omniglot_maml.yaml", f"--data.root={omniglot}",
          f"--trainer.default_root_dir={tmp_path}", *TINY])  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSHOT_DATA", str(omniglot.parent))
    exec(code.replace("shots=5", "shots=5, test_episodes=4"), {})
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^    make (\w+)", README, re.MULTILINE))))
def test_the_makefile_has_the_targets_of_the_readme(target):
    dry = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert dry.returncode == 0
    assert {
        "demo": "fewshot.demo",
        "homework": "fewshot.homework",
        "family": "fewshot.family",
        "test": "pytest",
        "bench": "-m benchmarks",
    }[target] in dry.stdout


def test_the_readme_installs_learn2learn_as_the_makefile_does():
    recipe = "--no-deps --use-pep517 --config-settings=--build-option=build_ext learn2learn==0.2.0"
    assert recipe in README
    assert recipe in " ".join((REPOSITORY / "Makefile").read_text().replace("\\", " ").split())


def test_every_option_of_the_readme_is_an_option(capsys):
    help_text = ""
    for words in (["--help"], ["--model.help", "MAMLModule"], ["--model.help", "ProtoNetModule"],
                  ["--model.help", "ReptileModule"], ["--model.help", "IMAMLModule"],
                  ["--model.help", "PretrainedModule"], ["--data.help", "OmniglotDataModule"],
                  ["--data.help", "SinusoidDataModule"]):  # fmt: skip
        with pytest.raises(SystemExit):
            main(["fit", *words])
        help_text += capsys.readouterr().out
    options = set(re.findall(r"--(?:data|model|trainer)\.\w+|--name", README)) - {"--model.help", "--data.help"}
    assert len(options) > 20
    assert not {option for option in options if option not in help_text}


def test_every_picture_of_the_readme_is_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", README)
    assert pictures
    assert all((REPOSITORY / picture).exists() for picture in pictures)
