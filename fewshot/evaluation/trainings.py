"""Several trainings of one recipe as one learner: the mean over them, and how far they are apart."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from math import isfinite, nan
from typing import Any

import numpy as np

from fewshot.evaluation.tested import Row
from fewshot.metrics import difference_of_means


def by_recipe(rows: Sequence[Row]) -> list[Row]:
    """A row per recipe and value, in the order of the first of each.

    Trainings of one recipe have the same options of model and data, but for ``--data.train_seed``, and the same length,
    precision, clipping and accumulation of gradients; the same seed twice is no other training. Their scores per
    episode are averaged; ``trainings`` holds those of each.

    Args:
        rows: One per checkpoint and value.
    """
    groups: dict[tuple[str, Any], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["recipe"], row["value"]), []).append(row)
    names = {group: [row["name"] for row in own] for group, own in groups.items()}
    used = Counter((value, _common(own)) for (_, value), own in names.items())
    merged = []
    for (recipe, value), own in groups.items():
        seeds, called = {row["training"] for row in own}, names[recipe, value]
        name = _common(called) if used[value, _common(called)] == 1 else ", ".join(called)
        merged += [_merged(own, name)] if 1 < len(seeds) == len(own) else own
    return merged


def _merged(rows: Sequence[Row], name: str) -> Row:
    """The row of a recipe."""
    metric = rows[0]["metric"]
    scores = np.array([row["scores"] for row in rows], dtype=float)  # [trainings, episodes]
    means = scores.mean(1)
    mean, ci95 = float(scores.mean()), nan
    if scores.shape[1] > 1:
        mean, ci95, *_ = difference_of_means(scores, np.zeros((1, scores.shape[1])))
    before = [row[f"{metric}_before"] for row in rows if row.get(f"{metric}_before") is not None]
    return {
        **rows[0],
        "name": name,
        metric: mean if isfinite(mean) else None,
        "ci95": ci95 if isfinite(ci95) else None,
        "std": float(scores.mean(0).std(ddof=1)) if isfinite(mean) and scores.shape[1] > 1 else None,
        "loss": float(np.mean([nan if row["loss"] is None else row["loss"] for row in rows])),
        **({f"{metric}_before": float(np.mean(before))} if len(before) == len(rows) else {}),
        "scores": scores.mean(0).tolist(),
        "trainings": scores.tolist(),
        "spread": float(means.std(ddof=1)),
        "checkpoint": ", ".join(row["checkpoint"] for row in rows),
    }


def _common(names: Sequence[str]) -> str:
    """What to call trainings together: maml for maml_0 and maml_1."""
    shared = takewhile(lambda letters: len(set(letters)) == 1, zip(*names))
    start = "".join(letters[0] for letters in shared).rstrip("0123456789").rstrip("_-./")
    return f"{start.removesuffix('_seed') or names[0]} x {len(names)}"
