"""A run that the tests of runs share."""

from pathlib import Path

import pytest
from helpers import SMALL_NETWORK, TINY

from fewshot.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a MAML that was trained for two steps on glyphs; nothing may be written there."""
    root = tmp_path_factory.mktemp("trained")
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={root}", *TINY, *SMALL_NETWORK])
    return root
