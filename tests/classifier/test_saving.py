"""A saved classifier: two files, no pickle, the same predictions without the support set."""

import hashlib
import json
import shutil
from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import timm
from helpers import SHAPES
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from timm.models import save_for_hf

from fewshot.classifier import FewShotClassifier
from fewshot.errors import FewShotError

KINDS = ["classifier", "protonet", "maml"]


@pytest.fixture(scope="session")
def saved(classifier: FewShotClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved classifier; nothing may be written there."""
    folder = tmp_path_factory.mktemp("saved") / "mine"
    classifier.save(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_predicts_the_same(kind, request, query, tmp_path):
    classifier = request.getfixturevalue(kind)
    classifier.save(tmp_path / "mine")
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {"classifier.json", "classifier.safetensors"}
    loaded = FewShotClassifier.load(tmp_path / "mine")
    assert np.array_equal(loaded.predict_proba(query.files), classifier.predict_proba(query.files))
    assert loaded.classes_.tolist() == classifier.classes_.tolist()
    assert loaded.head_name_ == classifier.head_name_
    assert loaded.held_out_.interval() == classifier.held_out_.interval()


def test_what_an_older_version_wrote_is_loaded(saved, classifier, query, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "old")
    description = json.loads((folder / "classifier.json").read_text())
    del description["sha256"], description["tuned"], description["options"]["tune"], description["options"]["ckpt_path"]
    numbers = (folder / "classifier.safetensors").read_bytes()
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode() + numbers).hexdigest()
    (folder / "classifier.json").write_text(json.dumps({**description, "sha256": digest}))
    loaded = FewShotClassifier.load(folder)
    assert np.array_equal(loaded.predict(query.files), classifier.predict(query.files))
    assert (loaded.tune, loaded.ckpt_path) == ("none", None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_learns_another_class_as_the_original_does(kind, request, query, tmp_path):
    classifier = request.getfixturevalue(kind)
    classifier.save(tmp_path)
    loaded, again = (FewShotClassifier.load(tmp_path) for _ in range(2))
    loaded.add_class(query.files[:2], "new")
    assert loaded.classes_.tolist() == sorted([*SHAPES, "new"])
    assert (loaded.head_name_ == "learner") == (kind != "classifier")
    assert again.classes_.tolist() == sorted(SHAPES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_of_what_is_loaded_is_fitted_as_the_original_was(kind, request, support, query, tmp_path):
    classifier = request.getfixturevalue(kind)
    classifier.save(tmp_path)
    unfitted = clone(FewShotClassifier.load(tmp_path))
    assert unfitted.get_params() == classifier.get_params()
    again = unfitted.fit(support.files, support.labels)
    np.testing.assert_allclose(again.predict_proba(query.files), classifier.predict_proba(query.files), rtol=1e-6)


def test_a_clone_without_its_checkpoint_is_not_fitted(protonet, support, tmp_path):
    classifier = copy(protonet).set_params(ckpt_path=tmp_path / "gone.ckpt")
    classifier.save(tmp_path)
    with pytest.raises(FewShotError, match=r"there is no checkpoint file .*gone\.ckpt"):
        clone(FewShotClassifier.load(tmp_path)).fit(support.files, support.labels)


def test_classes_that_are_numbers_stay_numbers(support, tmp_path):
    numbers = [len(label) for label in support.labels]
    FewShotClassifier(head="nearest-mean").fit(support.files, numbers).save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path)
    assert loaded.classes_.tolist() == [4, 6, 8]
    assert loaded.predict(support.files[:1]).dtype.kind == "i"


def flip(folder: Path) -> None:
    content = bytearray((folder / "classifier.safetensors").read_bytes())
    content[-1000] ^= 1
    (folder / "classifier.safetensors").write_bytes(content)


def rename_a_class(folder: Path) -> None:
    text = (folder / "classifier.json").read_text()
    (folder / "classifier.json").write_text(text.replace("triangle", "hexagon"))


def exchange(folder: Path) -> None:
    arrays = load_file(folder / "classifier.safetensors")
    save_file({**arrays, "labels": arrays["labels"] * 0}, folder / "classifier.safetensors")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (flip, "is damaged or was edited: save the classifier again"),
    "an edited class": (rename_a_class, "is damaged or was edited: save the classifier again"),
    "other numbers": (exchange, "is damaged or was edited: save the classifier again"),
    "no JSON": (lambda folder: (folder / "classifier.json").write_text("{"), "there is no classifier in"),
    "a list": (lambda folder: (folder / "classifier.json").write_text("[]"), "is of another format than 1"),
    "a later format": (
        lambda folder: (folder / "classifier.json").write_text('{"format": 2}'),
        "another format than 1",
    ),
    "half of it": (lambda folder: (folder / "classifier.safetensors").unlink(), "there is no classifier in"),
    "nothing": (shutil.rmtree, "there is no classifier in .*: fewshot predict --save writes one"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_refused_in_one_line(damage, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    do, message = DAMAGE[damage]
    do(folder)
    with pytest.raises(FewShotError, match=message) as refused:
        FewShotClassifier.load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("architecture", "options"), [("test_vit", {"img_size": 96}), ("ghostnet_050", {})])
def test_what_was_fitted_to_a_backbone_of_ones_own_is_loaded_without_it(
    architecture, options, support, query, tmp_path
):
    network = timm.create_model(architecture, num_classes=0, **options)  # the hub has no weights of either
    save_for_hf(network, tmp_path / "own", model_args=options, safe_serialization=True)
    fitted = FewShotClassifier(f"{tmp_path}/own", head="ridge", random_state=np.int64(3)).fit(*support[1:])
    fitted.save(tmp_path / "saved")
    expected = fitted.predict_proba(query.files)
    shutil.rmtree(tmp_path / "own")
    loaded = FewShotClassifier.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.predict_proba(query.files), expected, rtol=1e-5)
    assert loaded.random_state == 3


def test_what_cannot_be_saved_is_told(classifier, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FewShotError, match=r"the classifier cannot be written to .*file"):
        classifier.save(tmp_path / "file")
    with pytest.raises(FewShotError, match="is a folder: name a file in it"):
        classifier.export_onnx(tmp_path)
    of_features = FewShotClassifier().fit(np.eye(4), [*"abab"])
    with pytest.raises(FewShotError, match="knows nothing of pictures"):
        of_features.save(tmp_path / "features")
