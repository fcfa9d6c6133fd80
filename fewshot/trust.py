"""What a checkpoint may decide: weights, and the options of known classes. Never code, never paths."""

import re
from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml

from fewshot.errors import FewShotError

WORD = re.compile(r"[\w-]+", re.ASCII)
CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
OURS = re.compile(r"fewshot\.(algorithms|networks|data)\.[\w.]+", re.ASCII)
PATH = re.compile(r"(?!class_path$)(.*_)?(root|dir|path|folder|file)s?")
"""Names of options that are paths."""


def options_of(
    config: dict[str, Any], trusted: Collection[str] = (), parts: Sequence[str] = ("model", "data")
) -> tuple[dict[str, Any], list[str]]:
    """The options that a checkpoint may decide.

    Numbers and plain words pass, and classes of fewshot, of ``torch.optim`` and of whatever is trusted. Paths and all
    other text stay out, and whether files are verified. Nothing is imported but modules of fewshot.

    Args:
        config: The checkpoint's options of ``model`` and ``data``.
        trusted: Modules, or classes in full, that the user has named.
        parts: What is wanted of them.

    Returns:
        The options, and the names of those that were left out.

    Raises:
        FewShotError: If a class is neither ours nor trusted.
    """
    left_out: list[str] = []
    nothing = object()

    def walk(value: Any, name: str, key: str) -> Any:
        if isinstance(value, dict):
            pairs = ((str(part), walk(below, f"{name}.{part}", str(part))) for part, below in value.items())
            return {part: below for part, below in pairs if below is not nothing}
        if isinstance(value, list | tuple):
            return [part for part in (walk(below, name, key) for below in value) if part is not nothing]
        if isinstance(value, str) and not _is_plain(value, name, key, trusted):
            left_out.append(name.replace(".init_args", ""))
            return nothing
        plain = value is None or isinstance(value, str) or (isinstance(value, bool | int | float) and key != "verify")
        return value if plain else nothing

    try:
        return {part: walk(config[part], part, part) for part in parts}, left_out
    except RecursionError:
        raise FewShotError("the checkpoint's options are nested without an end") from None


def _is_plain(text: str, name: str, key: str, trusted: Collection[str]) -> bool:
    """Whether a text may come from a checkpoint: a word, or a class that is ours or trusted."""
    if name == "model.init_args.adapt":  # names of weights, which look like classes and are never imported
        return True
    if PATH.fullmatch(key) or not (CLASS.fullmatch(text) or WORD.fullmatch(text)):
        return False
    if CLASS.fullmatch(text):
        _check(text, name, trusted)
    elif Path(text).is_file():  # the parser would take it for a config
        raise FewShotError(f"the checkpoint's {name} {text!r} is the name of a file here: work in another folder")
    return True


def _check(path: str, name: str, trusted: Collection[str]) -> None:
    """Refuses a class that is neither ours, nor an optimiser or schedule of torch, nor trusted."""
    module, _, short = path.rpartition(".")
    if any(path == one or path.startswith(f"{one}.") for one in trusted):
        return
    if OURS.fullmatch(path):
        try:
            found = getattr(import_module(module), short, None)
        except ImportError:
            found = None
        if isinstance(found, type) and found.__module__.startswith("fewshot."):
            return
    if module in ("torch.optim", "torch.optim.lr_scheduler"):
        found = getattr(import_module(module), short, None)
        kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
        if isinstance(found, type) and issubclass(found, kinds):
            return
    option = name.replace(".init_args", "").replace(".class_path", "")
    raise FewShotError(
        f"the checkpoint wants the class {path} for --{option}, which is not one of fewshot: a stranger's could do "
        f"anything. If you know it, say so: --trust {module}"
    )


def trusted_by(words: Sequence[str]) -> set[str]:
    """What a user trusts: modules by ``--trust``, and the classes that he types or that a config file of his names."""
    found: set[str] = set()
    for word, after in zip(words, [*words[1:], ""]):
        option, equals, value = word.partition("=")
        value = value if equals else after
        if option == "--trust":
            found.update(re.findall(r"[\w.]+", value))
        if re.match(r"--(model|data)\b", option) and not PATH.fullmatch(option.rpartition(".")[2]):
            found.update(_classes(value))
        if option in ("--config", "-c") and Path(value).is_file():
            try:
                found.update(_classes(yaml.safe_load(Path(value).read_text())))
            except (OSError, ValueError, yaml.YAMLError, RecursionError):
                continue  # the parser says what is wrong with it
    return found


def _classes(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _classes(part)
    elif isinstance(value, str) and CLASS.fullmatch(value):
        yield value
