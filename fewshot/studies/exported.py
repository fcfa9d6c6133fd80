"""The learners of Omniglot that come with fewshot: how each was trained, and how it is tested."""

import csv
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple


class Mode(NamedTuple):
    """How a learner is tested.

    Attributes:
        name: What the table calls it.
        options: Of the learner.
        queries: Per class; as many as shots if ``None``, as in MAML's paper.
    """

    name: str
    options: Mapping[str, object]
    queries: int | None = 5

    @property
    def typed(self) -> str:
        """Its options as they are typed after ``fewshot test``, each with a space before it."""
        options = {f"model.{name}": value for name, value in self.options.items()}
        options |= {"data.test_queries": "K"} if self.queries is None else {}
        return "".join(f" --{name} {value}" for name, value in options.items())


INDUCTIVE, SHIFTED = Mode("inductive", {}), {"test_shift": 1}
MODES = {
    "adapts": (
        Mode("transductive, as many queries as shots", {}, queries=None),
        Mode("transductive", {}),
        Mode("inductive", {"batch_norm": "inductive"}),
    ),
    "compares": (INDUCTIVE,),
    "prototypes": (
        INDUCTIVE,
        Mode("inductive, averaged over shifts by a pixel", SHIFTED),
        Mode("transductive, refined by the queries", {"test_refinement_steps": 5}),
        Mode("transductive, refined over shifts", {**SHIFTED, "test_refinement_steps": 5}),
    ),
}
"""How the learners of each kind are tested."""


class Exported(NamedTuple):
    """A checkpoint that comes with fewshot.

    Attributes:
        method: What the field calls it.
        year: When it was published.
        checkpoint: Its name, which ends with the ways and shots of its tests.
        ways: At which it can be tested.
        modes: How it is tested.
        trained: For how long.
        command: That trained it.
    """

    method: str
    year: int
    checkpoint: str
    ways: tuple[int, ...]
    modes: tuple[Mode, ...]
    trained: str
    command: str

    @property
    def setting(self) -> tuple[int, int]:
        """Ways and shots of its training."""
        ways, shots = re.findall(r"\d+", self.checkpoint)[-2:]
        return int(ways), int(shots)


def exported() -> list[Exported]:
    """All of them, a line of ``exported.tsv`` each."""
    text = files("fewshot.studies").joinpath("exported.tsv").read_text(encoding="utf-8")
    return [
        Exported(
            line["method"],
            int(line["year"]),
            line["checkpoint"],
            tuple(map(int, line["ways"].split())),
            MODES[line["modes"]],
            f"{int(line['outer_steps']):,} outer steps, {line['minutes']} minutes",
            line["command"],
        )
        for line in csv.DictReader(text.splitlines(), delimiter="\t")
    ]
