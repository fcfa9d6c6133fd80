"""A classifier of a few labelled pictures: a frozen backbone or a trained learner, and a head for so few of them."""

from fewshot.classifier.estimator import FewShotClassifier
