"""The words after ``fewshot fit`` and ``fewshot test``, and the names that they give a run."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fewshot.errors import FewShotError
from fewshot.shipped import checkpoint_path, config_path


def name_of(config: Any) -> str:
    """The name of a run: as typed, or that of its config file, or of its data and model.

    Raises:
        FewShotError: If it can be no folder's.
    """
    files = [Path(str(file)).stem for file in config.config or [] if file is not None]  # what is typed is none
    classes = [config[part].class_path.rpartition(".")[2] for part in ("data", "model")]
    made_up = files[-1] if files else "_".join(classes).replace("Module", "").replace("Data", "").lower()
    name = made_up if config.name is None else config.name
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise FewShotError(f"--name {name!r} must be letters, digits, '_', '-' and '.': it names a folder")
    return name


def checkpoints_of(config: Any) -> Path:
    """The folder of a run's checkpoints."""
    return Path(config.trainer.default_root_dir or ".", "checkpoints", name_of(config))


def found(words: Sequence[Any]) -> list[str]:
    """The words, with the configs and checkpoints that come with fewshot in place of their names."""
    finders: dict[str, Callable[[str], Path]]
    finders = {"--config": config_path, "-c": config_path, "--ckpt_path": checkpoint_path}
    found_words = [str(word) for word in words]
    for index, word in enumerate(found_words):
        option, equals, value = word.partition("=")
        before = found_words[index - 1] if index else ""
        if option in finders and equals:
            found_words[index] = f"{option}={finders[option](value)}"
        elif before in finders and word and not word.startswith("{"):  # a config may be typed as it is
            found_words[index] = str(finders[before](word))
    return found_words


def value_of(option: str, args: Sequence[str]) -> str | None:
    """The last value of an option, given as ``--option value`` or ``--option=value``."""
    value = None
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(f"{option}="):
            value = arg.partition("=")[2]
    return value


def without(words: Sequence[str], *options: str) -> list[str]:
    """The words without some options and their values."""
    kept: list[str] = []
    for before, word in zip(["", *words], words):
        if before not in options and word.partition("=")[0] not in options:
            kept.append(word)
    return kept
