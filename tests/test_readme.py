"""The README's commands and its Python are run as they stand, made small by options behind them."""

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
from helpers import REPOSITORY, SMALL_NETWORK, TINY, best, reports, tiny
from PIL import Image

from fewshot import algorithms, data
from fewshot.cli import main
from fewshot.shipped import config_path

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [shlex.split(line) for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
            for line in block.splitlines()]  # fmt: skip

PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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


def value_of(option: str, words: list[str]) -> str:
    return words[words.index(option) + 1]


def draw_pictures(folder: Path, classes: int, pictures: int) -> None:
    """Writes pictures in as many colours as classes."""
    for number in range(classes):
        (folder / f"class {number}").mkdir(parents=True)
        for picture in range(pictures):
            colour = (60 * number % 256, 30 * number % 256, 20 * picture)
            Image.new("RGB", (40, 30), colour).save(folder / f"class {number}" / f"{picture}.jpg")


def test_the_commands_and_the_python_of_the_readme_work_in_their_order(tmp_path, monkeypatch, omniglot, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSHOT_DATA", str(omniglot.parent))
    draw_pictures(Path("my_classes"), classes=3, pictures=2)
    draw_pictures(Path("my_many_classes"), classes=60, pictures=10)
    Path("new_pictures").mkdir()
    Image.new("RGB", (30, 30), "red").save("new_pictures/red.jpg")
    steps = {}
    for number, (program, *words) in enumerate(COMMANDS):
        if program == "tensorboard":
            port = free_port()
            with subprocess.Popen(
                [sys.executable, "-m", "tensorboard.main", *words, f"--port={port}"], stderr=subprocess.DEVNULL
            ) as server:
                assert "TensorBoard" in page(f"http://127.0.0.1:{port}", seconds=60)
                server.terminate()
        elif words[0] == "explore":
            with subprocess.Popen([sys.executable, "-m", "fewshot", *words, "--show=false"]) as server:
                assert "fewshot explore" in page(f"http://127.0.0.1:{value_of('--port', words)}", seconds=120)
                server.terminate()
        elif words[0] == "fit":
            if "gpu" not in words or torch.cuda.is_available():
                config = config_path(value_of("--config", words))
                steps[config.stem] = number + 2  # a resumed run wants more of them
                main([*words, *tiny(config), f"--trainer.max_steps={number + 2}"])
        elif words[0] == "test":
            main([*words, "--data.test_episodes=4", "--trainer.enable_progress_bar=false"])
        elif words[0] in ("sweep", "compare", "reuse"):
            main([*words, "--data.test_episodes=4"])
        else:
            main(words)
    assert len(reports(tmp_path)) == len([words for words in COMMANDS if words[:2] == ["fewshot", "test"]]) > 0
    assert any("--ckpt_path" in words for words in COMMANDS if words[:2] == ["fewshot", "fit"])
    for name, taken in steps.items():
        assert torch.load(f"checkpoints/{name}/last.ckpt", weights_only=True)["global_step"] == taken
    sweep = next(words for words in COMMANDS if words[:2] == ["fewshot", "sweep"] and "--shots" in words)
    points = [len(value_of(option, sweep).split(",")) for option in ("--ckpt_paths", "--shots")]
    assert len(json.loads(Path("logs/sweep_shots/results.json").read_text())) == points[0] * points[1] > 1
    assert Path("maml.ckpt").exists()

    (code,) = (block for block in PYTHON if "shots=5" in block)
    exec(code.replace("shots=5", "shots=5, test_episodes=4"), {})
    assert "Traceback" not in caplog.text


def test_the_learner_of_the_readme_trains_and_is_tested(tmp_path, monkeypatch, omniglot):
    (code,) = (block for block in PYTHON if "class " in block)
    (tmp_path / "learner_of_the_readme.py").write_text(code)
    (name,) = re.findall(r"^class (\w+)", code, re.MULTILINE)
    monkeypatch.syspath_prepend(tmp_path)
    main(["fit", f"--model=learner_of_the_readme.{name}", "--model.network=Conv4", *SMALL_NETWORK,
          "--model.network.running_statistics=true", "--data=OmniglotDataModule", f"--data.root={omniglot}", *TINY,
          f"--trainer.default_root_dir={tmp_path}", "--name=mine", "--trainer.logger=false"])  # fmt: skip
    main(["test", f"--ckpt_path={best(tmp_path, 'mine')}", f"--trainer.default_root_dir={tmp_path}",
          "--trust=[learner_of_the_readme]"])  # fmt: skip
    assert reports(tmp_path)[0]["algorithm"] == name


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^    make (\w+)", README, re.MULTILINE))))
def test_the_makefile_has_the_targets_of_the_readme(target):
    dry = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert dry.returncode == 0
    assert {
        "demo": "fewshot demo",
        "explore": "fewshot explore",
        "homework": "fewshot homework",
        "family": "fewshot family",
        "feature_reuse": "fewshot feature_reuse",
        "methods": "fewshot methods",
        "results": "fewshot results",
        "test": "pytest",
        "bench": "-m benchmarks",
        "wheel": "pip wheel",
    }[target] in dry.stdout


def test_the_readme_installs_learn2learn_as_the_makefile_does():
    recipe = "--no-deps --use-pep517 --config-settings=--build-option=build_ext learn2learn==0.2.0"
    assert recipe in README
    assert recipe in " ".join((REPOSITORY / "Makefile").read_text().replace("\\", " ").split())


def test_every_option_of_the_readme_is_an_option(capsys):
    helps = [["--help"]]
    helps += [["--model.help", name] for name in dir(algorithms) if name.endswith("Module")]
    helps += [["--data.help", name] for name in dir(data) if name.endswith("DataModule")]
    help_text = ""
    for words in helps:
        with pytest.raises(SystemExit):
            main(["fit", *words])
        help_text += capsys.readouterr().out
    options = set(re.findall(r"--(?:data|model|trainer)\.\w+|--name", README)) - {"--model.help", "--data.help"}
    assert len(options) > 20
    assert not {option for option in options if option not in help_text}


def test_every_file_that_the_readme_names_is_there():
    linked = [link for link in re.findall(r"\]\(([^)#]*)\)", README) if not link.startswith("http")]
    assert any(link.endswith(".png") for link in linked)
    quoted = re.findall(r"`((?:benchmarks|configs|docs|fewshot|tests)/[\w/.]+)`", README)
    assert not [name for name in {*linked, *quoted} if not (REPOSITORY / name).exists()]
