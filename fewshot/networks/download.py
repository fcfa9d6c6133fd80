"""``fewshot download``: a pretrained backbone, once and for all."""

from fewshot.networks.backbones import EMBEDDED, cached, fetch, import_timm, repository_of
from fewshot.terminal import console


def download(name: str) -> None:
    """Fetches the weights of a pretrained backbone to the hub's cache, where every later run finds them.

    Args:
        name: Of timm, such as ``vit_small_patch14_dinov2.lvd142m``.

    Raises:
        FewShotError: If there is no such backbone, or no network.
    """
    import_timm()
    if name == EMBEDDED:
        console().print(f"{name} comes with the extra backbones: there is nothing to download.")
        return
    repository = repository_of(name)
    file = cached(repository) or fetch(name, repository)
    console().print(f"{name}: {file.stat().st_size / 1e6:.1f} MB in {file}", soft_wrap=True)
