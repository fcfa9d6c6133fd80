"""What a wheel carries, and that it works where there is no clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import REPOSITORY

from fewshot import __version__, shipped
from fewshot.cli import main

PARTS = ("fewshot", "configs", "checkpoints/README.md", "checkpoints/pretrained", "setup.cfg", "pyproject.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of what the repository holds."""
    clone = tmp_path_factory.mktemp("wheel") / "clone"
    for part in (*PARTS, "README.md", "LICENSE"):
        source, copy = REPOSITORY / part, clone / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True)
        else:
            shutil.copy(source, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(build, cwd=clone, check=True)
    (file,) = clone.glob("*.whl")
    return file


def test_a_wheel_carries_the_configs_and_the_trained_checkpoints(wheel):
    files = zipfile.ZipFile(wheel).namelist()
    configs = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("configs/**/*.yaml")}
    checkpoints = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("checkpoints/pretrained/*.ckpt")}
    assert {name.removeprefix("fewshot/shipped/") for name in files if name.endswith((".yaml", ".ckpt"))} == (
        configs | checkpoints
    )
    assert any(name.endswith("licenses/LICENSE") for name in files)
    assert "fewshot/evaluation/lake_runs.tsv" in files
    assert not [name for name in files if not name.startswith("fewshot")]


def test_an_installed_wheel_trains_and_tests_in_an_empty_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    commands = [
        ["--version"],
        ["demo", "--max_steps=2", "--episodes=4"],
        ["test", "--ckpt_path=pretrained/maml_5w1s", "--data=GlyphsDataModule", "--data.test_episodes=4"],
    ]
    code = f"import fewshot.cli\nfor words in {commands}: fewshot.cli.main(words)\nprint(fewshot.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "work", env=environment, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"fewshot {__version__}\n")
    assert shown.stdout.endswith(f"{tmp_path}/site/fewshot/__init__.py\n")
    assert (tmp_path / "work" / "demo" / "demo.png").exists()
    assert "accuracy" in shown.stdout.rpartition("MAMLModule")[2]


def test_a_script_beside_the_clone_finds_the_package(tmp_path):
    """A folder of the package's name hides nothing, as a plain path entry is searched like any other."""
    (tmp_path / "fewshot").mkdir()
    code = "import sys; sys.path.insert(0, ''); import fewshot; print(fewshot.__version__)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert shown.stdout == f"{__version__}\n", shown.stderr


def test_names_of_what_comes_along_are_found_from_any_folder(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    assert shipped.config_path("homework/maml").samefile(REPOSITORY / "configs" / "homework" / "maml.yaml")
    checkpoint = shipped.checkpoint_path("pretrained/maml_5w1s")
    assert checkpoint.samefile(REPOSITORY / "checkpoints" / "pretrained" / "maml_5w1s.ckpt")
    (tmp_path / "glyphs_maml").write_text("a file of the user's own comes first")
    assert shipped.config_path("glyphs_maml") == Path("glyphs_maml")
    (tmp_path / "glyphs_protonet").mkdir()  # which is no config
    assert shipped.config_path("glyphs_protonet").name == "glyphs_protonet.yaml"
    assert set(shipped.config_names()) >= {"glyphs_maml", "omniglot_maml", "homework/protonet"}
    assert "there is no checkpoint file 'pretrained/maml'" in fails("test", "--ckpt_path=pretrained/maml")
    assert "glyphs_mamml" in fails("fit", "--config=glyphs_mamml")


def test_the_version_is_told(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"fewshot {__version__}\n"
