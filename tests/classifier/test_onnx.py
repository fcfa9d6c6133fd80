"""A classifier as one ONNX file, run by a program that knows nothing of torch."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from timm.models import save_for_hf

from fewshot.classifier import FewShotClassifier
from fewshot.cli import main
from fewshot.errors import FewShotError


def run(file: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file)
    assert [part.name for part in (*session.get_inputs(), *session.get_outputs())] == ["images", "probabilities"]
    return session.run(None, {"images": images})[0]


@pytest.fixture
def backbone(support, tmp_path_factory: pytest.TempPathFactory) -> FewShotClassifier:
    """On a tiny backbone of untrained weights, which is written as ONNX within seconds."""
    folder = tmp_path_factory.mktemp("backbone")
    save_for_hf(timm.create_model("test_resnet", num_classes=7), folder, safe_serialization=True)
    return FewShotClassifier(backbone=f"{folder}").fit(support.files, support.labels)


def agrees(file: Path, classifier: FewShotClassifier, pictures: list[str]) -> None:
    images = np.stack([classifier.source.read(picture) for picture in pictures]).astype(np.float32) / 255
    expected = classifier.predict_proba(pictures)
    assert expected.min() < 0.9 * expected.max() < 0.9  # there is something to agree on
    np.testing.assert_allclose(run(file, images), expected, atol=1e-5)
    np.testing.assert_allclose(run(file, images[:1]), expected[:1], atol=1e-5)


def test_a_backbone_agrees_for_any_number_of_pictures(backbone, query, tmp_path):
    backbone.export_onnx(tmp_path / "mine.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.onnx"]
    agrees(tmp_path / "mine.onnx", backbone, query.files)


STROKES = {
    "cross": [(0, 0, 1, 1), (0, 1, 1, 0)],
    "t": [(0, 0, 1, 0), (0.5, 0, 0.5, 1)],
    "square": [(0, 0, 1, 0), (1, 0, 1, 1), (1, 1, 0, 1), (0, 1, 0, 0)],
}


def draw_characters(folder: Path, seed: int) -> list[str]:
    """Four drawings of each character, small and large, here and there: what a learner of Omniglot can tell apart."""
    rng, files = np.random.default_rng(seed), []
    for name, strokes in STROKES.items():
        (folder / name).mkdir(parents=True)
        for number in range(4):
            picture, place, size = Image.new("L", (28, 28), 255), rng.integers(3, 9, 2), rng.integers(10, 18, 2)
            for stroke in strokes:
                ends = np.tile(place, 2) + np.array(stroke) * np.tile(size, 2)
                ImageDraw.Draw(picture).line(ends.tolist(), fill=0, width=2)
            picture.save(folder / name / f"{number}.png")
            files.append(f"{folder}/{name}/{number}.png")
    return files


def test_a_protonet_agrees_as_the_command_writes_it(tmp_path):
    support, query = draw_characters(tmp_path / "support", seed=0), draw_characters(tmp_path / "query", seed=1)
    labels = [Path(file).parent.name for file in support]
    protonet = FewShotClassifier(ckpt_path="pretrained/protonet_5w1s").fit(support, labels)
    words = [f"--support={tmp_path}/support", f"--query={query[0]}", "--ckpt_path=pretrained/protonet_5w1s"]
    main(["predict", *words, f"--folder={tmp_path}/told", f"--onnx={tmp_path}/mine.onnx"])
    agrees(tmp_path / "mine.onnx", protonet, query)


@pytest.mark.parametrize("head", ["auto", "logistic"])
def test_a_learner_that_adapts_is_refused(head, support, tmp_path):
    maml = FewShotClassifier(ckpt_path="pretrained/maml_5w1s", head=head).fit(support.files, support.labels)
    with pytest.raises(FewShotError, match="MAMLModule cannot be written as ONNX: a pretrained backbone can, a Proto"):
        maml.export_onnx(tmp_path / "mine.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_the_extra_one_line_says_how_to_install_it(protonet, tmp_path, monkeypatch):
    def export(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", export)
    message = r'ONNX needs onnxscript, which is not installed: pip install "fewshot\[onnx\]"'
    with pytest.raises(FewShotError, match=message):
        protonet.export_onnx(tmp_path / "mine.onnx")


def test_a_classifier_of_features_is_refused(tmp_path):
    with pytest.raises(FewShotError, match="knows nothing of pictures"):
        FewShotClassifier().fit(np.eye(4), [*"abab"]).export_onnx(tmp_path / "mine.onnx")
