"""What comes with fewshot: configs and trained checkpoints, by name and from any folder.

``configs`` and ``checkpoints`` here are links to the folders of the repository, their only home; a wheel carries
copies.
"""

from difflib import get_close_matches
from pathlib import Path

from fewshot.errors import FewShotError

CONFIGS, CHECKPOINTS = (Path(__file__).parent / folder for folder in ("configs", "checkpoints"))


def config_path(name: str | Path) -> Path:
    """The file of a config: as named, or ``omniglot_maml`` of those that come with fewshot.

    Raises:
        FewShotError: If there is neither.
    """
    path = _find(name, CONFIGS, ".yaml")
    if not path.exists():
        there = get_close_matches(str(name), config_names()) or config_names()
        raise FewShotError(f"there is no config file {str(name)!r}; with fewshot comes {', '.join(there)}")
    return path


def checkpoint_path(name: str | Path) -> Path:
    """The file of a checkpoint: as named, or ``pretrained/maml_5w1s`` of those that come with fewshot."""
    return _find(name, CHECKPOINTS, ".ckpt")


def checkpoint_name(path: str | Path) -> str:
    """Undoes :func:`checkpoint_path`: what one would type for a checkpoint that comes with fewshot, or the path."""
    path = Path(path)
    return str(path.relative_to(CHECKPOINTS).with_suffix("") if path.is_relative_to(CHECKPOINTS) else path)


def checkpoint_names() -> list[str]:
    """The checkpoints that come with fewshot."""
    shipped = CHECKPOINTS.glob("pretrained/**/*.ckpt")  # in a clone, trainings of one's own are beside them
    return sorted(str(path.relative_to(CHECKPOINTS).with_suffix("")) for path in shipped)


def config_names() -> list[str]:
    """The configs that come with fewshot."""
    return sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.glob("**/*.yaml"))


def _find(name: str | Path, folder: Path, suffix: str) -> Path:
    path, shipped = Path(name), folder / name
    if path.is_file() or path.is_absolute():
        return path
    candidates = [shipped, shipped.with_name(shipped.name + suffix)]
    return next((file for file in candidates if file.is_file()), path)
