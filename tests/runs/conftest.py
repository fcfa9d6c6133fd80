"""Runs that several tests start from."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL_NETWORK, TINY
from PIL import Image

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a MAML that was trained for two steps on glyphs; nothing may be written there."""
    root = tmp_path_factory.mktemp("trained")
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK,
          "--trainer.logger=false"])  # fmt: skip
    return root


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fifty classes of ten pictures: enough for every config."""
    root = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    for number in range(50):
        (root / f"class{number}").mkdir()
        for picture in range(10):
            noise = rng.integers(256, size=(4, 5, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / f"class{number}" / f"{picture}.png")
    return root


@pytest.fixture(scope="session")
def data(omniglot: Path) -> list[str]:
    """The options of the data."""
    return ["--data=OmniglotDataModule", f"--data.root={omniglot}", "--name=mine", *SMALL_NETWORK, *TINY,
            "--data.meta_batch_size=4", "--trainer.logger=false"]  # fmt: skip


@pytest.fixture(scope="session")
def maml(data: list[str]) -> list[str]:
    """Trains a MAML."""
    return ["fit", "--model=MAMLModule", "--model.network=Conv4", "--model.learn_inner_lr=per-step", *data,
            "--trainer.max_steps=30", "--trainer.val_check_interval=10"]  # fmt: skip


@pytest.fixture(scope="session")
def reptile(data: list[str]) -> list[str]:
    """Trains a Reptile, whose inner Adam goes on from step to step."""
    return ["fit", "--model=ReptileModule", "--model.network=Conv4", "--model.test_adaptation_steps=2", *data,
            "--data.shots=3", "--data.queries=1"]  # fmt: skip


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a training to which a signal comes, Ctrl-C if no other, during an outer step."""
    really = EpisodicModule.training_step

    def run(words: list[str], during: int, number: int = signal.SIGINT) -> None:
        def step(module: EpisodicModule, *args: Any) -> Any:
            if module.global_step == during - 1:
                os.kill(os.getpid(), number)
            return really(module, *args)

        with monkeypatch.context() as patch:
            patch.setattr(EpisodicModule, "training_step", step)
            with pytest.raises(SystemExit) as status:
                main(words)
        assert status.value.code == 128 + number

    return run
