"""What the tests of the classifier share: pictures of three shapes, and classifiers that were fitted to them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fewshot.classifier import FewShotClassifier

SIDES = {"disc": 60, "square": 4, "triangle": 3}  # of the regular polygon that is drawn
SHOTS, QUERIES = 4, 2


class Pictures(NamedTuple):
    """Files with a class each.

    Attributes:
        folder: In it a folder for each class.
        files: All pictures, class after class.
        labels: The class of each.
    """

    folder: Path
    files: list[str]
    labels: list[str]


def draw(shape: str, seed: int) -> Image.Image:
    """A shape in some colour, at some place, on noise."""
    rng = np.random.default_rng([SIDES[shape], seed])
    picture = Image.fromarray(rng.integers(100, 156, (64, 64, 3), dtype=np.uint8))
    circle = (*rng.integers(26, 38, 2).tolist(), int(rng.integers(15, 22)))
    ImageDraw.Draw(picture).regular_polygon(circle, SIDES[shape], fill=tuple(rng.integers(0, 90, 3).tolist()))
    return picture


def written(folder: Path, count: int, first: int = 0) -> Pictures:
    for shape in SIDES:
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            draw(shape, first + number).save(folder / shape / f"{number}.png")
    files = sorted(folder.glob("*/*.png"))
    return Pictures(folder, [str(file) for file in files], [file.parent.name for file in files])


@pytest.fixture(scope="session")
def support(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Four pictures of each shape."""
    return written(tmp_path_factory.mktemp("pictures") / "support", SHOTS)


@pytest.fixture(scope="session")
def query(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Two others of each."""
    return written(tmp_path_factory.mktemp("pictures") / "query", QUERIES, first=SHOTS)


@pytest.fixture(scope="session")
def classifier(support: Pictures) -> FewShotClassifier:
    """The frozen backbone with the head that it chose."""
    return FewShotClassifier().fit(support.files, support.labels)


@pytest.fixture(scope="session")
def protonet(support: Pictures) -> FewShotClassifier:
    """A learner that compares, trained on Omniglot."""
    return FewShotClassifier(ckpt_path="pretrained/protonet_5w1s").fit(support.files, support.labels)


@pytest.fixture(scope="session")
def maml(support: Pictures) -> FewShotClassifier:
    """A learner that adapts to the support set, trained on Omniglot for five classes."""
    return FewShotClassifier(ckpt_path="pretrained/maml_5w1s").fit(support.files, support.labels)
