"""What a checkpoint may decide: weights, and the options of known classes. Never code, never paths."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from fewshot.errors import FewShotError

WORD = re.compile(r"[\w-]+", re.ASCII)
CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
KEY = re.compile(r"(?!verify$)[A-Za-z_]\w*", re.ASCII)
"""Names of options that a checkpoint may give at all: whether files are verified is the user's own to say."""
OURS = re.compile(r"fewshot\.(algorithms|networks|data)\.[\w.]+", re.ASCII)
PRETRAINED = "fewshot.networks.PretrainedEmbedding"
BACKBONE = re.compile(r"[\w.-]+", re.ASCII)
"""A name of timm, which may look like a class and is never imported; a folder has a slash in it."""
HARMLESS = ("torch.optim", "torchvision.transforms.v2")
PATH = re.compile(r"(?!class_path$)(.*_)?(root|dir|path|folder|file)s?")
"""Names of options that are paths."""


def options_of(
    config: dict[str, Any], trusted: Collection[str] = (), parts: Sequence[str] = ("model", "data")
) -> tuple[dict[str, Any], list[str]]:
    """The options that a checkpoint may decide.

    Numbers and plain words pass, and classes of fewshot, of ``torch.optim``, of ``torchvision.transforms.v2`` and of
    whatever is trusted. Paths and all other text stay out, and whether files are verified. Nothing is imported but
    modules of these.

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

    def walk(value: Any, name: str, home: Any = None) -> Any:
        if isinstance(value, dict):
            home = value.get("class_path", home)
            # The parser takes a dot in a key for the next level.
            pairs = ((key, walk(below, f"{name}.{key}", home)) for key, below in value.items() if _is_key(key))
            return {key: below for key, below in pairs if below is not nothing}
        if isinstance(value, list | tuple):
            parts = [walk(below, name, home) for below in value]
            return nothing if nothing in parts else parts
        if value is None or isinstance(value, bool | int | float):
            return value
        backbone = home == PRETRAINED and name.endswith(".init_args.backbone") and isinstance(value, str)
        if (backbone and BACKBONE.fullmatch(value)) or _is_plain(value, name, trusted):
            return value
        left_out.append(name)
        return nothing

    try:
        return {part: walk(config[part], part) for part in parts}, list(dict.fromkeys(left_out))
    except RecursionError:
        raise FewShotError("the checkpoint's options are nested without an end") from None


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and KEY.fullmatch(key) is not None


def _is_plain(text: Any, name: str, trusted: Collection[str]) -> bool:
    """Whether a text may come from a checkpoint: a word, or a class that is ours or trusted."""
    if not isinstance(text, str) or PATH.fullmatch(name.rpartition(".")[2]):
        return False
    if name == "model.init_args.adapt":  # names of weights, which look like classes and are never imported
        return True
    if not (WORD.fullmatch(text) or CLASS.fullmatch(text)):
        return False
    if Path(text).is_file():  # the parser would take it for a config
        raise FewShotError(f"the checkpoint's {name} {text!r} is the name of a file here: work in another folder")
    if CLASS.fullmatch(text):
        _check(text, name, trusted)
    return True


def _check(path: str, name: str, trusted: Collection[str]) -> None:
    """Refuses a class that is neither ours, nor one of torch that is harmless with plain options, nor trusted."""
    module, _, short = path.rpartition(".")
    if path in trusted or any(module.startswith(home) and _is_class(module, short, [home]) for home in HARMLESS):
        return
    homes = [*trusted, *(["fewshot"] if OURS.fullmatch(path) else [])]
    if any(f"{module}.".startswith(f"{home}.") for home in homes) and _is_class(module, short, homes):
        return
    option = name.replace(".init_args", "").replace(".class_path", "")
    raise FewShotError(
        f"the checkpoint wants the class {path} for --{option}, which is not one of fewshot: a stranger's could do "
        f"anything. If you know it, say so: --trust [{module}]"
    )


def _is_class(module: str, name: str, homes: Collection[str]) -> bool:
    """Whether a module has a class of that name which was defined there or thereabouts, not imported from elsewhere."""
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and any(f"{found.__module__}.".startswith(f"{home}.") for home in homes)


def trusted_by(words: Sequence[str]) -> set[str]:
    """What a user trusts: modules by ``--trust``, and the classes that he types or that a config file of his names."""
    found: set[str] = set()
    for word, after in zip(words, [*words[1:], ""]):
        option, equals, value = word.partition("=")
        value = value if equals else after
        if option == "--trust":
            found.update(re.findall(r"[\w.]+", value))
        if re.match(r"--(model|data)\b", option):
            found.update(_classes(_read(value), option.rpartition(".")[2]))
        if option in ("--config", "-c") and Path(value).is_file():
            config = _read(Path(value).read_bytes())
            parts = [config.get(part) for part in ("model", "data")] if isinstance(config, dict) else []
            found.update(_classes(parts))
    return found


def _read(text: str | bytes) -> Any:
    """What a text in YAML says; nothing, if it is none: the parser tells what is wrong with it."""
    try:
        value = yaml.safe_load(text)
        json.dumps(value, default=str, skipkeys=True)  # does it end?
        return value
    except (ValueError, yaml.YAMLError, RecursionError):
        return None


def _classes(value: Any, key: str = "") -> Iterator[str]:
    """The classes that nested options name."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _classes(part, str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _classes(part, key)
    elif isinstance(value, str) and CLASS.fullmatch(value) and not PATH.fullmatch(key):
        yield value
