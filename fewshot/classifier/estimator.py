"""``FewShotClassifier``: a few labelled pictures in, a classifier out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fewshot.classifier.estimate import Fit, HeldOut, better, held_out
from fewshot.classifier.heads import LINEAR, Head, HeadName, LinearHead, fit_linear
from fewshot.classifier.inputs import as_pictures
from fewshot.classifier.learners import LearnerSource, learner_source
from fewshot.classifier.onnx import export_onnx
from fewshot.classifier.saving import load, save
from fewshot.classifier.sources import Picture, Source, backbone_source, of_network
from fewshot.classifier.tuning import tune
from fewshot.errors import FewShotError
from fewshot.networks import PretrainedEmbedding
from fewshot.networks.backbones import EMBEDDED

MOST_FOR_LOGISTIC = 100
"""Classes up to which ``auto`` tries logistic regression, whose fits take minutes beyond."""

UNKNOWN_TEMPERATURE = 0.05
"""For one example a class, which leaves none to be judged: about that of a softmax of 20 times the cosine."""


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Tells classes of pictures apart from a handful of labelled ones, as an estimator of scikit-learn.

    Pictures are files, images of Pillow, or arrays ``uint8`` ``[n, H, W]`` or ``[n, H, W, 3]``. Each becomes a feature
    vector by a frozen backbone; a head is fitted to those. A matrix ``[n, D]`` of numbers is taken for features.

    Attributes:
        classes_: The classes, sorted.
        head_name_: The head that was chosen.
        candidates_: The support examples judged by held-out heads of each kind that was tried.
        held_out_: Support examples judged by heads that have not seen them; ``None`` where no class has two.
        tuned_: Whether the backbone was tuned.
        temperature_: What scores are divided by before the softmax, found on ``held_out_``.

    Args:
        backbone: A pretrained backbone of timm, by name or folder; see ``PretrainedEmbedding``.
        ckpt_path: A checkpoint of ``fewshot fit``, or its name, in place of the backbone.
        head: ``nearest-mean``, ``ridge`` or ``logistic`` regression, the ``learner``'s own, or ``auto``: of a
            checkpoint its own; of a backbone ridge regression, unless another is better on held-out support examples
            beyond chance, and the nearest mean where no class has two.
        tune: ``norm``: tune the backbone's normalisation layers and the head, which takes minutes, and keep that
            only if held-out support pictures are judged better beyond chance. ``none``: the backbone stays frozen.
        download: Whether the backbone's weights may be downloaded.
        trust: Modules of your own, whose classes the checkpoint may use.
        random_state: Seed of which examples are held out together.
    """

    def __init__(
        self,
        backbone: str = EMBEDDED,
        ckpt_path: str | Path | None = None,
        head: HeadName = "auto",
        tune: Literal["none", "norm"] = "none",
        download: bool = False,
        trust: Sequence[str] = (),
        random_state: int = 0,
    ) -> None:
        self.backbone = backbone
        self.ckpt_path = ckpt_path
        self.head = head
        self.tune = tune
        self.download = download
        self.trust = trust
        self.random_state = random_state

    @property
    def source(self) -> Source:
        """What turns pictures into features.

        Raises:
            FewShotError: If the classifier was fitted to features.
        """
        check_is_fitted(self, "head_")
        if self.source_ is None:
            raise FewShotError("the classifier was fitted to features, and knows nothing of pictures")
        return self.source_

    def fit(self, X: Any, y: Any) -> "FewShotClassifier":  # noqa: N803 (scikit-learn's names)
        """Fits a head to labelled pictures.

        Args:
            X: Pictures, or features ``[n, D]``.
            y: The class of each, ``[n]``.

        Raises:
            FewShotError: If a picture cannot be read, there is one class, or the head does not go with the source.
        """
        if self.tune not in ("none", "norm"):
            raise FewShotError(f"tune must be none or norm, not {self.tune}")
        pictures = as_pictures(X)
        if pictures is None:
            features, y = validate_data(self, X, y)
            self.source_: Source | None = None
        else:
            self.source_ = self.make_source()
            features, y = self.source_.all_features(pictures), column_or_1d(y, warn=True)
            self.n_features_in_ = features.shape[1]
        check_classification_targets(y)
        if len(features) != len(y):
            raise FewShotError(f"{len(features)} pictures, but {len(y)} labels")
        classes, labels = np.unique(np.asarray(y), return_inverse=True)
        if len(classes) < 2:
            raise FewShotError(
                f"{f'one class, {classes[0]}' if len(classes) else 'no class'}: to tell classes apart takes two or more"
            )
        self._fit_head(features, labels, classes)
        self.tuned_ = False
        if self.tune == "norm":
            self._tune(pictures)
        return self

    def _take(self, head: Head, held_out: HeldOut | None) -> None:
        self.head_, self.held_out_ = head, held_out
        self.temperature_ = held_out.temperature if held_out else UNKNOWN_TEMPERATURE

    def _fit_head(self, features: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> None:
        candidates: dict[str, HeldOut] = {}
        names = self._candidates(labels)
        for name in names:
            judged = held_out(self._fitting(name), features, labels, self.random_state)
            if judged is not None:
                candidates[name] = judged
        best = names[0] if candidates or len(names) == 1 else "nearest-mean"  # which needs no second example
        for name in names[1:] if candidates else ():
            best = name if better(candidates[name].right, candidates[best].right) else best
        self._take(self._fitting(best)(features, labels), candidates.get(best))  # if refused, the old one stays whole
        self.features_: np.ndarray = features
        self.labels_: np.ndarray = labels
        self.classes_: np.ndarray = classes
        self.candidates_: dict[str, HeldOut] = candidates
        self.head_name_: str = best

    def _tune(self, pictures: Sequence[Picture] | None) -> None:
        """Tunes the backbone on the support set, where that is better than to leave it as it is."""
        if pictures is None or not isinstance(self.source.module, PretrainedEmbedding):
            raise FewShotError("tune norm is for pictures and a pretrained backbone: leave it out")
        if not isinstance(self.head_, LinearHead):
            raise FewShotError(f"tune norm does not go with head {self.head}")
        images = [self.source.read(picture) for picture in pictures]
        tuned = tune(
            self.source.module,
            self.head_name_,
            self.features_,
            self.temperature_,
            images,
            self.labels_,
            self.random_state,
        )
        self.tuned_ = tuned is not None
        if tuned is not None:
            self.source_ = of_network(tuned.network, self.source.describe)
            self.features_ = self.source_.all_features(pictures)
            self._take(tuned.head, tuned.held_out)

    def _candidates(self, labels: np.ndarray) -> list[str]:
        """The heads to choose from, the first of them for lack of evidence."""
        if self.head != "auto":
            if self.head not in (*LINEAR, "learner"):
                raise FewShotError(f"head must be auto, learner, {', '.join(LINEAR)}, not {self.head}")
            return [self.head]
        if isinstance(self.source_, LearnerSource):
            return ["learner"]
        return [name for name in LINEAR if name != "logistic" or labels.max() < MOST_FOR_LOGISTIC]

    def _fitting(self, name: str) -> Fit:
        if name != "learner":
            return lambda features, labels: fit_linear(name, features, labels)
        if self.source_ is None:
            raise FewShotError("head learner needs pictures and a checkpoint: ckpt_path")
        return self.source_.head

    def make_source(self) -> Source:
        """What will turn pictures into features: made once, and remembered for other classifiers."""
        if self.ckpt_path is not None:
            return learner_source(str(self.ckpt_path), tuple(self.trust))
        return backbone_source(self.backbone, self.download)

    def _features_of(self, X: Any) -> np.ndarray:  # noqa: N803
        check_is_fitted(self, "head_")
        pictures = as_pictures(X)
        if pictures is None:
            return validate_data(self, X, reset=False)
        return self.source.all_features(pictures)

    def _scores(self, X: Any) -> np.ndarray:  # noqa: N803
        features = self._features_of(X)
        return self.head_.scores(features)

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Scores ``[n, N]``, before calibration; of two classes the difference, ``[n]``, as in scikit-learn."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Calibrated probabilities ``[n, N]``, in the order of ``classes_``."""
        return softmax(self._scores(X) / self.temperature_, axis=1)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class of each, ``[n]``."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def add_class(self, X: Any, label: Any) -> "FewShotClassifier":  # noqa: N803
        """Adds labelled examples, of a new class or of one that is known, and fits the head again.

        A tuned backbone stays as it is. As it has seen all that could be held out, there is no estimate then
        (``held_out_`` is ``None``), and probabilities are somewhat too sure.

        Args:
            X: Its pictures, or features ``[n, D]``.
            label: The class of all of them.

        Raises:
            FewShotError: If a picture cannot be read, the label is a number and the classes have names, or the other
                way round, or the learner tells no more classes apart. The classifier is then as it was.
        """
        features = self._features_of(X)
        old, new = self.classes_[self.labels_], np.full(len(features), label)
        kinds = {old.dtype.kind, new.dtype.kind} - {"O"}
        refusal = FewShotError(f"the label {label!r} is of another kind than the classes, such as {old.tolist()[0]!r}")
        if "U" in kinds and len(kinds) > 1:
            raise refusal
        try:
            classes, labels = np.unique(np.concatenate([old, new]), return_inverse=True)
        except TypeError:  # objects that cannot be sorted
            raise refusal from None
        self._fit_head(np.concatenate([self.features_, features]), labels, classes)
        if self.tuned_:
            self.held_out_, self.candidates_ = None, {}
        return self

    def save(self, folder: str | Path) -> None:
        """Writes all that predicting needs to a folder; see :mod:`fewshot.classifier.saving`."""
        save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, trust: Sequence[str] = ()) -> "FewShotClassifier":
        """Reads what :meth:`save` wrote; ``trust`` as for a checkpoint.

        It predicts by what is in the folder alone; to fit it again takes its backbone or checkpoint from where it was.
        """
        return load(cls(), Path(folder), tuple(trust))

    def export_onnx(self, file: str | Path) -> None:
        """Writes one ONNX file, from images of 0 to 1 to probabilities; see :mod:`fewshot.classifier.onnx`."""
        export_onnx(self, Path(file))
