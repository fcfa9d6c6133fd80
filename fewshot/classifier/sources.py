"""Where features come from: a source, which remembers them; a pretrained backbone is one."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from fewshot.classifier.heads import Head
from fewshot.data.pictures import Resampling, UnreadablePictureError, read_picture
from fewshot.errors import FewShotError, listed
from fewshot.networks import PretrainedEmbedding
from fewshot.networks.backbones import CONFIG, EMBEDDED, is_folder
from fewshot.terminal import console

Picture = str | Path | Image.Image

TOGETHER = 32  # pictures that are embedded together
OF_BACKBONE = ("image_size", "crop", "interpolation")  # how pictures are read for it
MOST_REMEMBERED = 100_000  # features of files


class Source:
    """Turns pictures into features, and remembers those of files.

    Args:
        describe: What it is, for a saved classifier.
        module: Its weights.
        embed: From images ``[n, C, H, W]`` of 0 to 1 to features ``[n, D]``.
        read: From one picture to ``uint8`` ``[C, H, W]``.
    """

    def __init__(
        self,
        describe: dict[str, Any],
        module: torch.nn.Module,
        embed: Callable[[torch.Tensor], torch.Tensor],
        read: Callable[[Picture], np.ndarray],
    ) -> None:
        self.describe, self.module, self.embed, self.read = describe, module, embed, read
        self._remembered: dict[tuple[str, int, int] | None, np.ndarray] = {}

    def example(self) -> np.ndarray:
        """A white picture as the source reads it, ``uint8`` ``[C, H, W]``."""
        return self.read(Image.new("RGB", (64, 64), "white"))

    def head(self, features: np.ndarray, labels: np.ndarray) -> Head:
        """The head that the source brings along, for its own features."""
        raise FewShotError("a backbone has no head of its own: choose head auto, nearest-mean, ridge or logistic")

    def features(self, pictures: Sequence[Picture], what: str = "") -> tuple[np.ndarray, dict[int, str]]:
        """Embeds pictures.

        Args:
            pictures: Files, or pictures in memory.
            what: Title of a progress bar; none if empty.

        Returns:
            Features ``float32`` ``[n, D]`` of those that can be read, and of the others, by index, what is wrong.
        """
        parts: list[np.ndarray] = []
        wrong: dict[int, str] = {}
        starts = range(0, len(pictures), TOGETHER)
        with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes
            for start in track(starts, what, console=console(), transient=True, disable=not what):
                for offset, feature in enumerate(self._some(pictures[start : start + TOGETHER], pool)):
                    if isinstance(feature, UnreadablePictureError):
                        wrong[start + offset] = feature.why
                    else:
                        parts.append(feature)
        return (np.stack(parts) if parts else np.empty((0, 0), np.float32)), wrong

    def all_features(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Embeds pictures as ``[n, D]``.

        Raises:
            FewShotError: If one cannot be read.
        """
        features, wrong = self.features(pictures)
        if wrong:
            some = listed([f"{pictures[index]} ({why})" for index, why in wrong.items()])
            raise FewShotError(
                f"{len(wrong)} of the {len(pictures)} pictures cannot be read: {some}. Mend them, or leave them out"
            )
        return features

    def _some(self, pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> list[np.ndarray | UnreadablePictureError]:
        """The features of a few pictures, each from memory, or embedded together with the others."""
        keys = [_version(picture) for picture in pictures]
        found: dict[int, Any] = {i: self._remembered[key] for i, key in enumerate(keys) if key in self._remembered}
        unknown = [index for index in range(len(pictures)) if index not in found]
        for picture in pictures:
            if isinstance(picture, Image.Image):  # one that is there twice must not be decoded by two threads at once
                with suppress(Exception):  # reading it says why
                    picture.load()
        found.update(zip(unknown, pool.map(self._try, [pictures[index] for index in unknown])))
        read = [index for index in unknown if isinstance(found[index], np.ndarray)]
        if read:
            images = torch.from_numpy(np.stack([found[index] for index in read])).float() / 255
            with torch.no_grad():
                found.update(zip(read, self.embed(images).float().numpy(force=True)))
        for index in read:
            if (key := keys[index]) and len(self._remembered) < MOST_REMEMBERED:
                self._remembered[key] = found[index]
        return [found[index] for index in range(len(pictures))]

    def _try(self, picture: Picture) -> np.ndarray | UnreadablePictureError:
        try:
            return self.read(picture)
        except UnreadablePictureError as error:
            return error


def _version(picture: Picture) -> tuple[str, int, int] | None:
    """What tells a file from another, or from itself before it was changed."""
    if isinstance(picture, Image.Image):
        return None
    try:
        status = os.stat(picture)
    except OSError:
        return None
    return os.path.abspath(picture), status.st_mtime_ns, status.st_size


def of_network(network: PretrainedEmbedding, describe: dict[str, Any]) -> Source:
    """A pretrained backbone, each picture read as its training read them."""
    network.eval().requires_grad_(False)

    def read(picture: Picture) -> np.ndarray:
        resampling: Resampling = "bilinear" if network.interpolation == "bilinear" else "bicubic"
        return read_picture(picture, network.image_size, 3, network.crop, resampling)

    return Source(describe, network, partial(both_ways, network), read)


def both_ways(embed: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The features of images and of their mirror images, added up: half a point to a point better than one way."""
    return embed(images) + embed(images.flip(-1))


@lru_cache(maxsize=4)
def backbone_source(backbone: str, download: bool = False) -> Source:
    """A pretrained backbone by its name or folder; see :class:`fewshot.networks.PretrainedEmbedding`."""
    try:
        network = PretrainedEmbedding(backbone, download=download)
    except FewShotError as error:  # which names the options of a training
        message = str(error).replace("--model.network.", "--")
        raise FewShotError(message.replace("--download true", "--download true (download=True in Python)")) from error
    name = backbone if backbone == EMBEDDED else network.backbone.pretrained_cfg["architecture"]
    describe = {"backbone": name, **{key: getattr(network, key) for key in OF_BACKBONE}}
    if is_folder(backbone):
        describe["config"] = json.loads(Path(backbone, CONFIG).expanduser().read_text())
    return of_network(network, describe)
