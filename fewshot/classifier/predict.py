"""``fewshot predict``: folders of pictures in, labels out."""

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import softmax

from fewshot.classifier.contact import draw_doubtful
from fewshot.classifier.estimator import FewShotClassifier
from fewshot.classifier.heads import HeadName
from fewshot.classifier.results import report, tell
from fewshot.data.pictures import pictures_by_class, pictures_in, without_pictures
from fewshot.errors import FewShotError, listed
from fewshot.evaluation.measure import Row, write_csv
from fewshot.files import write_json
from fewshot.networks.backbones import EMBEDDED
from fewshot.terminal import console

COLUMNS = ("file", "class", "probability", "second_class", "second_probability", "score", "known", "error")
AT_ONCE = 1000  # pictures that are judged together


def predict(
    query: str | list[str],
    support: Path | None = None,
    classifier: Path | None = None,
    ckpt_path: str | None = None,
    backbone: str = EMBEDDED,
    head: HeadName = "auto",
    tune: Literal["none", "norm"] = "none",
    download: bool = False,
    reject: float | None = None,
    save: Path | None = None,
    onnx: Path | None = None,
    folder: Path | None = None,
    trust: list[str] = [],  # noqa: B006 (jsonargparse shows it)
) -> list[Row]:
    """Sorts pictures into classes of which you have a handful each.

    Writes predictions.csv (file, class, probability, second class, its probability, score, known, error),
    predictions.json, and contact_sheet.png with the most doubtful pictures first. Says how good it is by the support
    set alone: each support picture is judged by a classifier that has not seen it.

    Args:
        query: The pictures to be sorted: a file, a folder, a pattern in quotes as in "new/*.jpg", or a list of those.
        support: The labelled pictures: a folder for each class, named after it.
        classifier: A classifier that --save has written, in place of the support set.
        ckpt_path: A learner that fewshot fit has trained, in place of the pretrained backbone.
        backbone: A pretrained backbone of timm, by its name or folder; the default needs no download.
        head: nearest-mean, ridge, logistic, or the learner's own; auto chooses by held-out support pictures.
        tune: norm tunes the backbone's normalisation layers, too, and keeps that only if held-out support pictures are
            judged better beyond chance. Takes minutes; for those who have ten or more pictures of each class.
        download: Whether the backbone's weights may be downloaded, if they are not on this machine.
        reject: Mark pictures as not known that score lower than this share of held-out support pictures does, such as
            0.05. Expect little: at 0.05 a quarter of the pictures of other classes was caught.
        save: Folder to keep the classifier in, for --classifier.
        onnx: File to write the classifier to as ONNX, for programs that know nothing of fewshot.
        folder: Where the results go; the next logs/predict/version_<n> if not given.
        trust: Modules of your own, as in [my.module], whose classes a checkpoint may use.

    Returns:
        A row per picture.

    Raises:
        FewShotError: If there is nothing to learn from or to sort, or an option is wrong.
    """
    if (support is None) == (classifier is None):
        raise FewShotError(
            "give either --support FOLDER, with a folder of pictures for each class, or --classifier FOLDER"
        )
    if classifier is not None and (ckpt_path, backbone, head, tune) != (None, EMBEDDED, "auto", "none"):
        raise FewShotError(
            "--classifier brings its backbone and head along: leave out --ckpt_path, --backbone, --head, --tune"
        )
    if ckpt_path is not None and backbone != EMBEDDED:
        raise FewShotError("--ckpt_path brings its network along: leave out --backbone")
    if reject is not None and not 0 < reject < 1:
        raise FewShotError(f"--reject must be between 0 and 1, not {reject}")
    support, classifier, save, onnx, folder = map(_from_home, (support, classifier, save, onnx, folder))
    files = _files(query)
    support_files: list[str] = []
    if classifier is not None:
        made = FewShotClassifier.load(classifier, trust)
    else:
        assert support is not None
        made = FewShotClassifier(backbone, ckpt_path, head, tune, download, trust)
        support_files = _fit(made, support)
    threshold = _threshold(made, reject)
    rows = _sort(made, files, threshold)
    try:
        folder = _new_folder() if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "predictions.csv", rows, COLUMNS)
        write_json(folder / "predictions.json", report(made, rows, support_files))
        sheet = folder / "contact_sheet.png"
        sheet.unlink(missing_ok=True)  # there may be none this time
        draw_doubtful(rows, made.source, sheet)
    except OSError as error:
        raise FewShotError(f"--folder {folder} cannot be written ({error.strerror})") from None
    if save is not None:
        made.save(save)
    if onnx is not None:
        made.export_onnx(onnx)
    tell(made, rows, support_files, folder)
    return rows


def _from_home(path: Path | None) -> Path | None:
    """The path with a ``~`` that the shell has left in it, as in ``--save=~/mine``, replaced."""
    return None if path is None else Path(os.path.expanduser(path))


def _files(query: str | list[str]) -> list[str]:
    """The files that are meant, each once."""
    found: dict[str, None] = {}
    for name in [query] if isinstance(query, str) else query:
        path = Path(os.path.expanduser(name))
        if path.is_dir():
            below = [file for files in pictures_by_class(path).values() for file in files]
            some = [str(file) for file in [*pictures_in(path), *below]]
        elif path.exists():
            some = [str(path)]
        else:
            some = sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file())
        if not some:
            is_there = path.exists() or glob.has_magic(name)
            raise FewShotError(
                f"--query {name}: there {'are no pictures' if is_there else 'is no such file or folder'}"
            )
        found.update(dict.fromkeys(some))
    return [*found]


def _fit(classifier: FewShotClassifier, support: Path) -> list[str]:
    """Fits the classifier to folders of pictures, and returns their files."""
    if not support.exists():
        raise FewShotError(f"--support {support}: there is no such folder")
    classes = pictures_by_class(support)
    if len(classes) < 2:
        raise FewShotError(
            f"{support} holds {'one folder' if classes else 'no folder'} of pictures: put those of each class into a "
            "folder of its own, two classes or more"
        )
    if empty := without_pictures(support):
        console().print(f"Left out, as there are no pictures in them: {listed(empty)} in {support}.")
    files = [str(file) for files in classes.values() for file in files]
    labels = [name for name, files in classes.items() for _ in files]
    classifier.make_source().features(files, "Support")  # with a bar; they are remembered for the fit
    classifier.fit(files, labels)
    return files


def _threshold(classifier: FewShotClassifier, reject: float | None) -> float | None:
    """Below which score a picture is not known."""
    if reject is None:
        return None
    if classifier.held_out_ is None:
        raise FewShotError("--reject learns from support pictures that are held out: give two or more of some classes")
    return float(np.quantile(classifier.held_out_.scores.max(1), reject))


def _sort(classifier: FewShotClassifier, files: Sequence[str], threshold: float | None) -> list[Row]:
    """A row per file."""
    features, wrong = classifier.source.features(files, "Queries")
    judged = _judged(classifier, features, threshold)
    return [
        {"file": file, **({"error": wrong[index]} if index in wrong else next(judged))}
        for index, file in enumerate(files)
    ]


def _judged(classifier: FewShotClassifier, features: np.ndarray, threshold: float | None) -> Iterator[Row]:
    """What there is to say of each picture, by its features ``[n, D]``; a thousand at once, whatever their number."""
    names = classifier.classes_.tolist()
    for start in range(0, len(features), AT_ONCE):
        scores = classifier.head_.scores(features[start : start + AT_ONCE])
        probabilities = softmax(scores / classifier.temperature_, axis=1)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        for (first, second), probability, score in zip(best, probabilities, scores.max(1).tolist()):
            yield {
                "class": names[first],
                "probability": round(float(probability[first]), 4),
                "second_class": names[second],
                "second_probability": round(float(probability[second]), 4),
                "score": round(score, 4),
                "known": None if threshold is None else score >= threshold,
            }


def _new_folder() -> Path:
    """Makes the next folder, which another process does not have as well."""
    home = Path("logs/predict")
    while True:
        taken = (path.name.removeprefix("version_") for path in home.glob("version_*"))
        folder = home / f"version_{1 + max((int(name) for name in taken if name.isdigit()), default=-1)}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
