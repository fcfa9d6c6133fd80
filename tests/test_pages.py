"""The README and the pages of docs/: their commands and their Python are run as they stand, made small by options."""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import REPOSITORY, TINY, reports, tiny
from pages import PAGES, README, anchors, commands, files, links, python, targets, text
from PIL import Image

from fewshot import algorithms, data
from fewshot.cli import main
from fewshot.shipped import config_path

DOCS = REPOSITORY / "docs"
WITH_COMMANDS = [page for page in PAGES if commands(page)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answer(url: str, seconds: float) -> str:
    """What is served at a local address, as soon as something answers there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(url, timeout=10).read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def value_of(option: str, words: list[str]) -> str:
    return words[words.index(option) + 1]


def draw_pictures(*folders: Path, pictures: int) -> None:
    """Writes pictures in as many colours as folders."""
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for picture in range(1, pictures + 1):
            colour = (60 * number % 256, 30 * number % 256, 20 * picture)
            Image.new("RGB", (40, 30), colour).save(folder / f"{picture}.jpg")


def prepare(page: Path) -> None:
    """Puts the pictures and the files that a page speaks of into the current folder."""
    Image.new("RGB", (30, 30), "red").save("new.jpg")
    if "new_pictures" in text(page):
        draw_pictures(Path("new_pictures"), pictures=1)
        draw_pictures(*(Path("my_classes", name) for name in "abc"), pictures=2)
    if "my_many_classes" in text(page):
        draw_pictures(*(Path("my_many_classes", str(number)) for number in range(60)), pictures=10)
        draw_pictures(*map(Path, "abc"), pictures=2)
    for name, code in files(page).items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(code)


def run(words: list[str], steps: Counter[str]) -> None:
    """Runs what stands behind ``fewshot``, with few episodes; counts the outer steps of each training."""
    if words[0] == "fit":
        small = tiny(config_path(value_of("--config", words))) if "--config" in words else TINY
        name = value_of("--name" if "--name" in words else "--config", words)
        steps[name] += 1  # a resumed run wants more of them
        main([*words, *small, f"--trainer.max_steps={steps[name]}"])
    elif words[0] == "test":
        main([*words, "--data.test_episodes=4", "--trainer.enable_progress_bar=false"])
    elif words[0] in ("sweep", "compare", "reuse"):
        main([*words, "--data.test_episodes=4"])
    elif words[0] == "explore":
        with serving("fewshot", *words, "--show=false"):
            assert "fewshot explore" in answer(f"http://127.0.0.1:{value_of('--port', words)}", seconds=120)
    else:
        main(words)


def serve_tensorboard(words: list[str]) -> None:
    """Starts it, and stops it when its page is there."""
    port = free_port()
    with serving("tensorboard.main", *words, f"--port={port}", stderr=subprocess.DEVNULL):
        assert "TensorBoard" in answer(f"http://127.0.0.1:{port}", seconds=120)


@contextmanager
def serving(module: str, *words: str, **options: Any) -> Iterator[None]:
    """A server's process, which must end when it is told to, and is ended whatever happens."""
    with subprocess.Popen([sys.executable, "-m", module, *words], **options) as server:
        try:
            yield
            server.terminate()
            server.wait(timeout=60)
        finally:
            server.kill()


def test_the_pages_with_commands_are_these():
    assert [page.stem for page in WITH_COMMANDS] == ["README", "explore", "first_steps", "own_algorithm", "own_images"]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_and_the_python_of_a_page_work_in_their_order(page, tmp_path, monkeypatch, omniglot, caplog):
    monkeypatch.chdir(tmp_path)
    if files(page):  # in place of the modules of tests/plugins, which have the same names
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "my"]:
            monkeypatch.delitem(sys.modules, name)
    prepare(page)
    steps: Counter[str] = Counter()
    for program, *words in commands(page):
        if program == "tensorboard":
            serve_tensorboard(words)
        elif "gpu" not in words or torch.cuda.is_available():
            assert program == "fewshot"
            run(words, steps)
    for code in python(page):
        exec(code.replace("shots=5", "shots=5, test_episodes=4"), {})
    for name, taken in steps.items():
        assert torch.load(f"checkpoints/{name}/last.ckpt", weights_only=True)["global_step"] == taken
    assert len(reports(tmp_path)) >= len([words for words in commands(page) if words[1] == "test"])
    assert "Traceback" not in caplog.text


def test_the_first_steps_go_all_the_way():
    words = commands(DOCS / "first_steps.md")
    assert {"fit", "test", "compare", "sweep", "curves", "reuse", "export"} < {second for _, second, *_ in words}
    assert any("--ckpt_path" in line for line in words if line[1] == "fit")


def test_what_one_writes_of_ones_own_is_at_most_forty_lines():
    lines = {name: len(code.splitlines()) for name, code in files(DOCS / "own_algorithm.md").items()}
    assert set(lines) == {"my/nearest.py", "my/small.py", "my/polygons.py"}
    assert max(lines.values()) <= 40


def test_the_readme_is_short():
    lines = text(README).splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("target", sorted(set().union(*map(targets, PAGES))))
def test_the_makefile_has_the_targets_of_the_pages(target):
    dry = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert dry.returncode == 0
    assert {
        "demo": "fewshot demo",
        "docs": "mkdocs build --strict",
        "explore": "fewshot explore",
        "homework": "fewshot homework",
        "family": "fewshot family",
        "feature_reuse": "fewshot feature_reuse",
        "methods": "fewshot methods",
        "recipes": "fewshot recipes",
        "results": "fewshot results",
        "test": "pytest",
        "bench": "-m benchmarks",
        "gpu": "-m pytest -m gpu",
        "race": "-m benchmarks.race",
        "soak": "-m benchmarks.soak",
        "wheel": "pip wheel",
    }[target] in dry.stdout


def test_the_first_steps_install_learn2learn_as_the_makefile_does():
    recipe = "--no-deps --use-pep517 --config-settings=--build-option=build_ext learn2learn==0.2.0"
    assert recipe in text(DOCS / "first_steps.md")
    assert recipe in " ".join((REPOSITORY / "Makefile").read_text().replace("\\", " ").split())


def test_every_option_of_the_pages_is_an_option(capsys):
    helps = [["--help"]]
    helps += [["--model.help", name] for name in dir(algorithms) if name.endswith("Module")]
    helps += [["--data.help", name] for name in dir(data) if name.endswith("DataModule")]
    help_text = ""
    for words in helps:
        with pytest.raises(SystemExit):
            main(["fit", *words])
        help_text += capsys.readouterr().out
    told = text(README) + text(DOCS / "options.md") + text(DOCS / "first_steps.md")
    options = set(re.findall(r"--(?:data|model|trainer)\.\w+|--name", told)) - {"--model.help", "--data.help"}
    assert len(options) > 20
    assert not {option for option in options if option not in help_text}


WITH_LINKS = [*PAGES, *(REPOSITORY / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
              *REPOSITORY.glob("[!.]*/README.md")]  # fmt: skip


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"
    quoted = re.findall(r"(?<![\w/(.])((?:benchmarks|configs|docs|fewshot|tests)/[\w/.]*\w)[`\s:,]", text(page))
    assert not [name for name in quoted if not (REPOSITORY / name).exists()]


def test_every_page_is_in_the_site():
    menu = (REPOSITORY / "mkdocs.yml").read_text()
    assert not [page.name for page in PAGES if str(page.relative_to(REPOSITORY)) not in menu]
