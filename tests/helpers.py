"""What several tests use."""

import io
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from fewshot.data import ImageEpisodes, ImageStore
from fewshot.episodes import Episode, Examples
from fewshot.networks import Embedding

REPOSITORY = Path(__file__).parent.parent

TINY = [  # makes any config run in a second or two
    "--trainer.max_steps=2",
    "--data.meta_batch_size=2",
    "--data.val_episodes=4",
    "--data.test_episodes=4",
    "--trainer.enable_progress_bar=false",
]
SMALL_NETWORK = ["--model.network.channels=4"]
"""For the configs of Conv4."""


def png(pixels: np.ndarray) -> bytes:
    """A one-bit PNG file of a boolean picture, true for paper."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def store(classes: int = 9, images: int = 6, channels: int = 1, size: int = 16) -> ImageStore:
    """Random images."""
    pixels = torch.randint(256, (classes * images, channels, size, size), dtype=torch.uint8)
    return ImageStore.of_rows(pixels, [images] * classes, [f"letters/{number}" for number in range(classes)])


def image_tasks(tasks: int = 2, ways: int = 3, shots: int = 2, queries: int = 3, classes: int = 9) -> Episode:
    """Tasks of random images in float64, 0 to 1."""
    images = store(classes, shots + queries)
    episodes = ImageEpisodes(images, split="train", ways=ways, shots=shots, queries=queries, length=tasks)
    support, query, chosen = episodes.__getitems__(range(tasks))
    return Episode(*(Examples(part.x.double() / 255, part.y) for part in (support, query)), chosen)


class Identity(Embedding):
    """Passes numbers through: the classifier on top is a linear model."""

    def __init__(self, out_features: int = 1) -> None:
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x


def shrink(configs: Path, to: Path) -> None:
    """Writes the configs of a folder, made to run in a second each."""
    for file in configs.glob("**/*.yaml"):
        config = yaml.safe_load(file.read_text())
        config["data"]["init_args"] |= {"meta_batch_size": 2, "val_episodes": 2}
        config["model"]["init_args"].pop("record", None)
        config["trainer"] |= {"enable_progress_bar": False, "val_check_interval": 1}
        small = to / file.relative_to(configs)
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_text(yaml.safe_dump(config))
