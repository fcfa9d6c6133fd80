"""Trained learners that the tests of evaluations share."""

from pathlib import Path
from typing import Any

import pytest
from helpers import SMALL_NETWORK, TINY, best

from fewshot.cli import main
from fewshot.evaluation import measure


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a MAML, and a prototypical network trained on more ways, each for two steps on glyphs."""
    root = tmp_path_factory.mktemp("runs")
    for algorithm in ("maml", "protonet"):
        main(["fit", f"--config=glyphs_{algorithm}", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK])
    return root


@pytest.fixture(scope="session")
def maml(runs: Path) -> Path:
    """The checkpoint of the MAML."""
    return best(runs, "glyphs_maml")


@pytest.fixture(scope="session")
def protonet(runs: Path) -> Path:
    """The checkpoint of the prototypical network."""
    return best(runs, "glyphs_protonet")


@pytest.fixture
def both(maml: Path, protonet: Path) -> str:
    """The option that names both checkpoints."""
    return f"--ckpt_paths=[{maml},{protonet}]"


@pytest.fixture(scope="session")
def of_omniglot(tmp_path_factory: pytest.TempPathFactory, omniglot: Path) -> Path:
    """The checkpoint of a prototypical network trained for two steps on Omniglot."""
    root = tmp_path_factory.mktemp("of_omniglot")
    main(["fit", "--config=omniglot_protonet", "--data.ways=5", f"--data.root={omniglot}", *TINY, *SMALL_NETWORK,
          f"--trainer.default_root_dir={root}", "--trainer.logger=false"])  # fmt: skip
    return best(root, "omniglot_protonet")


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the checkpoints that are really tested, in order."""
    labels: list[str] = []
    really = measure._test

    def test(point: Any, accelerator: Any) -> Any:
        labels.append(point.name)
        return really(point, accelerator)

    monkeypatch.setattr(measure, "_test", test)
    return labels
