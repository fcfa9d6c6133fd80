"""What the tests share: where Omniglot is, and the real command line."""

import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import png
from torchvision.datasets.utils import calculate_md5

from fewshot.cli import main
from fewshot.data import OmniglotDataModule, omniglot_files
from fewshot.data.omniglot_files import ARCHIVES, DRAWINGS


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this test run, one for all workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


REAL = os.environ.get("FEWSHOT_DATA")


@pytest.fixture(autouse=True, scope="session")
def surroundings(shared: Path) -> None:
    """Decoded images go to a folder of this test run; one thread, as small kernels crawl on several busy cores."""
    os.environ["XDG_CACHE_HOME"] = str(shared / "cache")
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell they are ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def fake_omniglot(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Archives with Omniglot's names and counts; each character is a random pattern of 7 x 7 blocks.

    They go for the official ones in this process, and decoded for those that it starts.
    """
    root = shared / "fake" / "omniglot"
    if not root.exists():
        made = tmp_path_factory.mktemp("made")
        make_archives(made / "omniglot")
        with suppress(OSError):  # another worker was faster
            made.rename(root.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(omniglot_files, "ARCHIVES", {name: calculate_md5(root / f"{name}.zip") for name in ARCHIVES})
        OmniglotDataModule(root=str(root)).prepare_data()
        yield root


def make_archives(root: Path) -> None:
    root.mkdir()
    rng = np.random.default_rng(0)
    for archive, (alphabets, characters) in zip(ARCHIVES, ((30, 964), (20, 659))):
        with zipfile.ZipFile(root / f"{archive}.zip", "w") as file:
            for character in range(characters):
                picture = png(np.kron(rng.random((7, 7)) < 0.7, np.ones((15, 15), dtype=bool)))
                alphabet, number = f"{archive[7:]}{character % alphabets:02}", character // alphabets + 1
                for drawing in range(DRAWINGS):
                    file.writestr(
                        f"{archive}/{alphabet}/character{number:02}/{character:04}_{drawing + 1:02}.png", picture
                    )


@pytest.fixture(scope="session")
def real_omniglot() -> Path:
    """The real archives; skips where they are not at hand."""
    root = Path(REAL or "/nowhere") / "omniglot"
    if not (root / "images_background.zip").exists():
        pytest.skip("set FEWSHOT_DATA to a folder that holds omniglot/images_background.zip")
    return root


@pytest.fixture(scope="session")
def omniglot(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The real archives where they are at hand, else the fake ones; found without ``--data.root``, too."""
    root = request.getfixturevalue("real_omniglot" if REAL else "fake_omniglot")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_DATA", str(root.parent))
        yield root


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail as a user's mistake does, and returns its one line."""

    def run(*args: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_status:
            main([str(arg) for arg in args])
        assert exit_status.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        errors = [line for line in lines if line.startswith("fewshot: error: ")]
        assert len(errors) == 1
        assert lines[-1] == errors[0]
        assert "Traceback" not in "".join(lines)
        return errors[0].removeprefix("fewshot: error: ")

    return run
