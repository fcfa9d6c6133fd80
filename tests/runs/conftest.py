"""Runs that several tests start from."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL_NETWORK, TINY

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a MAML that was trained for two steps on glyphs; nothing may be written there."""
    root = tmp_path_factory.mktemp("trained")
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK,
          "--trainer.logger=false"])  # fmt: skip
    return root


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
