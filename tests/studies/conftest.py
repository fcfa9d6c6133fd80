"""What the tests of whole studies share."""

from pathlib import Path

import pytest
from helpers import REPOSITORY, shrink
from matplotlib.figure import Figure

from fewshot.cli import main
from fewshot.data import EpisodicDataModule, ImageDataModule
from fewshot.studies import driver


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """The configs, made to run in less than a second each; the pictures of episodes have tests of their own."""
    monkeypatch.setattr(ImageDataModule, "figure", EpisodicDataModule.figure)
    shrink(REPOSITORY / "configs", tmp_path / "configs")
    return tmp_path / "configs"


@pytest.fixture
def nothing_again(monkeypatch):
    """Call it when all is trained and drawn: from then on a training fails, and pictures are empty to save time."""

    def forbid() -> None:
        monkeypatch.setattr(driver, "run", lambda words: pytest.fail(f"trained again: {words}"))
        monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(b"a picture"))

    return forbid


@pytest.fixture
def only_parsed(monkeypatch, capsys) -> list[str]:
    """Has the command line of each training read, but nothing trained: the names of those that were right."""
    names: list[str] = []

    def run(words: list[str]) -> None:
        with pytest.raises(SystemExit) as exit_status:
            main([*words, "--print_config"])
        assert exit_status.value.code == 0, words
        names.append(next(word for word in words if word.startswith("--name=")).removeprefix("--name="))

    monkeypatch.setattr(driver, "run", run)
    return names
