"""What is said of predictions: as JSON, and on screen."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.special import softmax

from fewshot.classifier.copies import told_of_copies
from fewshot.classifier.estimate import HeldOut
from fewshot.classifier.estimator import FewShotClassifier
from fewshot.errors import listed
from fewshot.evaluation.measure import Row
from fewshot.terminal import console

MOST_SHOWN = 20  # rows of the table on screen


def report(classifier: FewShotClassifier, rows: Sequence[Row], support: Sequence[str]) -> dict[str, Any]:
    """All that there is to say, as JSON.

    Args:
        classifier: What predicted.
        rows: A row per picture.
        support: The files of the support set, in the order of the fit; empty if they are not at hand.
    """
    held_out = classifier.held_out_
    estimate = None
    if held_out is not None:
        low, high = held_out.interval()
        estimate = {
            "accuracy": float(held_out.right.mean()),
            "interval": [low, high],
            "pictures": len(held_out.labels),
            "suspicious": _suspicious(classifier, held_out, support),
        }
    return {
        "classes": classifier.classes_.tolist(),
        "head": classifier.head_name_,
        "temperature": classifier.temperature_,
        "estimate": estimate,
        "predictions": rows,
    }


def _suspicious(classifier: FewShotClassifier, held_out: HeldOut, support: Sequence[str]) -> list[Row]:
    """The support pictures that the others take for another class, the surest of them first."""
    if not support:
        return []
    probabilities = softmax(held_out.scores / held_out.temperature, axis=1)
    wrong = [row for row in np.flatnonzero(~held_out.right) if probabilities[row].max() > 0.5]
    return [
        {
            "file": support[held_out.rows[row]],
            "class": classifier.classes_[held_out.labels[row]].item(),
            "looks_like": classifier.classes_[held_out.scores[row].argmax()].item(),
            "probability": round(float(probabilities[row].max()), 4),
        }
        for row in sorted(wrong, key=lambda row: -probabilities[row].max())
    ]


def tell(classifier: FewShotClassifier, rows: Sequence[Row], support: Sequence[str], folder: Path) -> None:
    """Prints a table of the predictions, what to make of them, and where they are; arguments as of :func:`report`."""
    screen = console()
    screen.print(_table(rows))
    if len(rows) > MOST_SHOWN:
        screen.print(f"... and {len(rows) - MOST_SHOWN} more in predictions.csv")
    judged = [row for row in rows if "class" in row]
    if len(judged) < len(rows):
        unread = listed([row["file"] for row in rows if "error" in row])
        screen.print(f"{len(rows) - len(judged)} of {len(rows)} pictures cannot be read: {unread}.")
    screen.print(_estimate(classifier))
    if classifier.held_out_ is not None:
        for odd in _suspicious(classifier, classifier.held_out_, support)[:5]:
            screen.print(f"Mislabelled? {odd['file']} looks like {odd['looks_like']} ({odd['probability']:.2f}).")
    for line in told_of_copies(support, [row["file"] for row in rows]):
        screen.print(line)
    lie = [row for row in judged if Path(row["file"]).parent.name in classifier.classes_]
    if judged and len(lie) == len(judged):
        right = sum(Path(row["file"]).parent.name == row["class"] for row in lie)
        screen.print(
            f"The pictures lie in folders with names of classes: {right} of {len(lie)} are sorted as they lie "
            f"({100 * right / len(lie):.1f} %)."
        )
    sheet = ", contact_sheet.png" if (folder / "contact_sheet.png").exists() else ""
    screen.print(f"Results: {folder}/: predictions.csv, predictions.json{sheet}", soft_wrap=True)


def _table(rows: Sequence[Row]) -> Table:
    rejects = any(row.get("known") is not None for row in rows)
    folder = _shared_folder(rows)
    table = Table(title=f"pictures in {folder}" if folder else None)
    for title in ("file", "class", "probability", "second class", *(["known"] if rejects else [])):
        table.add_column(title, overflow="fold")
    for row in rows[:MOST_SHOWN]:
        name = os.path.relpath(row["file"], folder) if folder else row["file"]
        if "error" in row:
            table.add_row(name, "cannot be read")
            continue
        second = f"{row['second_class']} {row['second_probability']:.2f}"
        known = ["yes" if row["known"] else "no"] if rejects else []
        table.add_row(name, str(row["class"]), f"{row['probability']:.2f}", second, *known)
    return table


def _shared_folder(rows: Sequence[Row]) -> str:
    """The deepest folder that all pictures lie in, as its path was given; empty if there is none."""
    try:
        return os.path.commonpath([os.path.dirname(row["file"]) for row in rows])
    except ValueError:  # some paths are absolute, some are not
        return ""


def _estimate(classifier: FewShotClassifier) -> str:
    held_out = classifier.held_out_
    if held_out is None and classifier.tuned_:
        return (
            "How good it is cannot be told: a class was added after the backbone was tuned on all support pictures. "
            "Fit it to all of them again."
        )
    if held_out is None:
        return "How good it is cannot be told from one picture a class: give two or more."
    low, high = held_out.interval()
    return (
        f"Head {classifier.head_name_}. Of {len(held_out.labels)} support pictures, each judged without having been "
        f"seen, {100 * held_out.right.mean():.1f} % were right (95 % interval {100 * low:.1f} to {100 * high:.1f})."
    )
