"""What the tests of the classifier share: pictures of three shapes, and classifiers that were fitted to them."""

from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import SHAPES, SHOTS, draw_shape

from fewshot.classifier import FewShotClassifier

QUERIES = 2


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


def written(folder: Path, count: int, first: int = 0) -> Pictures:
    """Writes ``count`` pictures of each shape."""
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            draw_shape(shape, first + number).save(folder / shape / f"{number}.png")
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


@pytest.fixture
def fitted(support: Pictures) -> FewShotClassifier:
    """A classifier of one's own, to be changed: the features of the pictures are known already."""
    return FewShotClassifier(head="nearest-mean").fit(support.files, support.labels)


@pytest.fixture(scope="session")
def maml(support: Pictures) -> FewShotClassifier:
    """A learner that adapts to the support set, trained on Omniglot for five classes."""
    return FewShotClassifier(ckpt_path="pretrained/maml_5w1s").fit(support.files, support.labels)
