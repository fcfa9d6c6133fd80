"""A classifier as a folder: ``classifier.json``, and its numbers in ``classifier.safetensors``. No pickle."""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

import fewshot
from fewshot.checkpoints import KEY
from fewshot.classifier.estimate import HeldOut
from fewshot.classifier.heads import LinearHead
from fewshot.classifier.learners import learner_of
from fewshot.classifier.sources import OF_BACKBONE, Source, of_network
from fewshot.errors import FewShotError, gist
from fewshot.files import to_json, write_bytes, write_json
from fewshot.networks import PretrainedEmbedding, without_weights
from fewshot.networks.backbones import CONFIG

if TYPE_CHECKING:
    from fewshot.classifier.estimator import FewShotClassifier

DESCRIPTION, NUMBERS = "classifier.json", "classifier.safetensors"
VERSION = 1
OPTIONS = ("backbone", "ckpt_path", "head", "tune", "random_state")

Classifier = TypeVar("Classifier", bound="FewShotClassifier")


def save(classifier: "FewShotClassifier", folder: Path) -> None:
    """Writes a fitted classifier.

    The backbone's weights are in it, and the features of the support set, which ``add_class`` needs; no pictures, but
    those of a learner that adapts to them.

    Raises:
        FewShotError: If it was fitted to features, or the folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    arrays = {
        f"source.{name}": value.numpy(force=True) for name, value in classifier.source.module.state_dict().items()
    }
    arrays |= {"features": classifier.features_, "labels": classifier.labels_}
    if isinstance(classifier.head_, LinearHead):
        arrays |= {f"head.{name}": value for name, value in classifier.head_._asdict().items()}
    if classifier.held_out_ is not None:
        arrays |= {f"held_out.{name}": getattr(classifier.held_out_, name) for name in ("rows", "scores", "labels")}
    content = to_bytes({name: np.asarray(array, order="C") for name, array in arrays.items()})
    description: dict[str, Any] = {
        "format": VERSION,
        "fewshot": fewshot.__version__,
        "classes": classifier.classes_.tolist(),
        "head": classifier.head_name_,
        "temperature": classifier.temperature_,
        "source": classifier.source.describe,
        "tuned": classifier.tuned_,
        # NumPy's numbers as Python's.
        "options": {name: np.asarray(getattr(classifier, name)).tolist() for name in OPTIONS},
    }
    description["options"]["ckpt_path"] = None if classifier.ckpt_path is None else str(classifier.ckpt_path)
    description["sha256"] = _digest(description, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / NUMBERS, content)
        write_json(folder / DESCRIPTION, description)
    except OSError as error:
        raise FewShotError(f"the classifier cannot be written to {folder} ({error.strerror})") from None


def load(classifier: Classifier, folder: Path, trust: tuple[str, ...] = ()) -> Classifier:
    """Reads a classifier that :func:`save` wrote into an unfitted one.

    Args:
        classifier: The unfitted one.
        folder: What was written.
        trust: Modules of the user's own, whose classes its learner may use.

    Raises:
        FewShotError: If there is none, or it is damaged or of another format.
    """
    from safetensors.numpy import load as from_bytes

    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        content = (folder / NUMBERS).read_bytes()
    except (OSError, ValueError) as error:
        raise FewShotError(
            f"there is no classifier in {folder} ({gist(error)}): fewshot predict --save writes one"
        ) from None
    if not isinstance(description, dict) or description.get("format") != VERSION:
        raise FewShotError(f"{folder / DESCRIPTION} is of another format than {VERSION}, which this version reads")
    if description.pop("sha256", None) != _digest(description, content):
        raise FewShotError(
            f"{DESCRIPTION} or {NUMBERS} in {folder} is damaged or was edited: save the classifier again"
        )
    try:
        return _restore(classifier, description, from_bytes(content), trust)
    except FewShotError:
        raise
    except Exception as error:  # whatever was edited
        raise FewShotError(f"{folder / DESCRIPTION} does not fit {NUMBERS} ({gist(error)}): save it again") from error


def _digest(description: dict[str, Any], content: bytes) -> str:
    """Fingerprint of both files, but for itself."""
    return hashlib.sha256(to_json(description, sort_keys=True).encode() + content).hexdigest()


def _restore(
    classifier: Classifier, description: dict[str, Any], arrays: dict[str, np.ndarray], trust: tuple[str, ...]
) -> Classifier:
    for name in OPTIONS:  # of which 0.4.0 wrote fewer
        setattr(classifier, name, description["options"].get(name, getattr(classifier, name)))
    classifier.trust, classifier.tuned_ = trust, description.get("tuned", False)
    weights = {
        name.removeprefix("source."): torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.startswith("source.")
    }
    classifier.source_ = _source(description["source"], weights, trust)
    classifier.classes_ = np.array(description["classes"])
    classifier.features_, classifier.labels_ = arrays["features"], arrays["labels"]
    classifier.n_features_in_ = classifier.features_.shape[1]
    classifier.head_name_, classifier.temperature_ = description["head"], float(description["temperature"])
    classifier.held_out_ = None
    if "held_out.rows" in arrays:
        rows, scores, labels = (arrays[f"held_out.{name}"] for name in ("rows", "scores", "labels"))
        classifier.held_out_ = HeldOut(rows, scores, labels, classifier.temperature_)
    classifier.candidates_ = {classifier.head_name_: classifier.held_out_} if classifier.held_out_ else {}
    if "head.weight" in arrays:
        classifier.head_ = LinearHead(arrays["head.weight"], arrays["head.bias"])
    else:
        classifier.head_ = classifier.source_.head(classifier.features_, classifier.labels_)
    return classifier


def _source(describe: dict[str, Any], weights: dict[str, torch.Tensor], trust: tuple[str, ...]) -> Source:
    if "learner" in describe:
        record = describe["learner"]
        algorithm = record["config"]["model"]["class_path"].rpartition(".")[2]
        return learner_of({"algorithm": algorithm, "state_dict": weights, KEY: record}, trust)
    with without_weights(), TemporaryDirectory() as folder:
        if "config" in describe:  # timm makes networks of folders of what it calls config.json alone
            write_json(Path(folder, CONFIG), describe["config"])
        network = PretrainedEmbedding(folder if "config" in describe else describe["backbone"])
    network.load_state_dict(weights)
    for name in OF_BACKBONE:
        setattr(network, name, describe[name])
    return of_network(network, describe)
