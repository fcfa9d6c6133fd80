"""What all visitors share: the learners, and the characters that none of them was trained on. Nobody changes either."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot.algorithms import AdaptingModule, EpisodicModule, MAMLModule, MetricModule
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.data import GlyphsDataModule, ImageDataModule, ImageEpisodes, ImageStore
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.evaluation.load import load
from fewshot.evaluation.plan import named, typed
from fewshot.shipped import CHECKPOINTS

Judge = Callable[[Tensor], Tensor]
"""From queries ``[T, n, ...]`` to their outputs ``[T, n, D]``."""

FEWEST = 20
"""Characters that episodes need to be drawn from."""

DRAWINGS = ("maml_5w1s", "meta_sgd_5w1s", "protonet_5w1s")
"""Those of drawings that are shown, if none are given. Lake's know the test characters of these."""

FIRST = ("Baseline", "MAML", "ProtoNet")
"""The order of those that come with fewshot; the others stand behind them."""


@dataclass(frozen=True)
class Learner:
    """A trained learner.

    Attributes:
        name: What to call it.
        path: Its checkpoint.
        module: With what it has learned. Where queries would be normalised together, each is judged on its own.
        trained_on: The names of the classes that it was trained on; none of sinusoids.
        outer_steps: Of its training.
    """

    name: str
    path: Path
    module: EpisodicModule
    trained_on: frozenset[str]
    outer_steps: int

    @property
    def regresses(self) -> bool:
        """Whether it is one of sinusoids, and not of drawings."""
        return self.module.objective.name == "mse"

    @property
    def adapts(self) -> bool:
        """Whether it takes gradient steps."""
        return isinstance(self.module, AdaptingModule)

    @property
    def steps(self) -> int:
        """The inner steps that it is tested with."""
        return self.module.test_adaptation_steps if isinstance(self.module, AdaptingModule) else 0

    @property
    def most_ways(self) -> int | None:
        """How many classes it can tell apart; ``None``: any number."""
        return getattr(self.module, "outputs", None)

    def after_steps(self, episode: Episode, steps: int) -> list[Tensor]:
        """Outputs for the queries after 0, 1, ..., ``steps`` inner steps, ``[T, n, D]`` each, as in a test.

        Of a learner that takes no steps they are all the same.
        """
        outputs = [judge(episode.query.x) for judge in self.adapted(episode.support, steps)]
        return outputs + outputs[-1:] * (steps + 1 - len(outputs))

    def adapted(self, support: Examples, steps: int) -> list[Judge]:
        """What it has become after 0, 1, ..., ``steps`` inner steps; the one that it is, if it takes none.

        Where its head has more outputs than there are classes, those are left out.

        Raises:
            FewShotError: If it has fewer.
        """
        module = self.module
        ways = int(support.y.max()) + 1 if not self.regresses else 1
        if self.most_ways is not None and ways > self.most_ways:
            raise FewShotError(f"{self.name} was trained for {self.most_ways} classes and cannot judge {ways}")
        if not isinstance(module, AdaptingModule):
            return [
                lambda x: module.predict(Episode(support, Examples(x, torch.zeros(x.shape[:2])))).outputs[..., :ways]
            ]
        with torch.enable_grad():
            learners = list(module.adapt(support, steps, "none", module.test_inner_loop))

        def judge(after: Judge) -> Judge:
            return lambda x: after(x).detach()[..., :ways]

        return [judge(after) for after in learners]


class Characters(NamedTuple):
    """Characters to be told apart.

    Attributes:
        store: Their images, 28 x 28 of one channel.
        kind: What they are, in words.
        warning: What is to be said about them.
    """

    store: ImageStore
    kind: str
    warning: str = ""

    def episode(self, number: int, ways: int, queries: int) -> Episode:
        """The one-shot test episode of a number, ``[1, n, 1, 28, 28]`` of 0 to 1: the same one every time."""
        episodes = ImageEpisodes(self.store, split="test", ways=ways, shots=1, queries=queries, length=1, first=number)
        support, query, classes = episodes[0]
        return Episode(support._replace(x=support.x / 255), query._replace(x=query.x / 255), classes)


@dataclass(frozen=True)
class Shelf:
    """The learners and the characters.

    Attributes:
        sinusoids: Learners of sinusoids, by name.
        drawings: Learners of drawings, by name.
        characters: What none of the latter was trained on.
    """

    sinusoids: dict[str, Learner]
    drawings: dict[str, Learner]
    characters: Characters

    @classmethod
    def of(cls, paths: Sequence[Path], trust: Sequence[str] = ()) -> "Shelf":
        """Those of some checkpoints, and of each kind that they lack those that come with fewshot.

        Args:
            paths: The checkpoints.
            trust: Modules whose classes they may use.

        Raises:
            FewShotError: If a checkpoint cannot be shown.
        """
        own = [read_learner(path, trust) for path in paths]
        folder = CHECKPOINTS / "pretrained"
        shipped = {True: sorted(folder.glob("sinusoid_*.ckpt")), False: [folder / f"{name}.ckpt" for name in DRAWINGS]}
        kinds: list[dict[str, Learner]] = []
        for regresses in (True, False):
            theirs = [one for one in own if one.regresses == regresses]
            if not theirs:
                theirs = sorted(map(read_learner, shipped[regresses]), key=in_order)
            kinds.append({one.name: one for one in apart(theirs)})
        sinusoids, drawings = kinds
        return cls(sinusoids, drawings, held_out(drawings.values(), trust))


def read_learner(path: Path, trust: Sequence[str] = ()) -> Learner:
    """A checkpoint's learner.

    Raises:
        FewShotError: If it can be read, but is neither one of sinusoids nor one of small drawings.
    """
    with named(path):
        checkpoint = read_checkpoint(path)
        data = checkpoint[KEY]["config"]["data"]["class_path"].rpartition(".")[2]
        module = EpisodicModule.load_from_checkpoint(path, trust=trust)
    if isinstance(module, AdaptingModule) and module.batch_norm == "transductive" and module.normalised:
        module = EpisodicModule.load_from_checkpoint(path, trust=trust, batch_norm="inductive")
    ours = (MetricModule, AdaptingModule)
    if data not in ("SinusoidDataModule", "OmniglotDataModule", "GlyphsDataModule") or not isinstance(module, ours):
        raise FewShotError(
            f"{path} holds a {type(module).__name__} of {data}: the page shows learners of sinusoids, of Omniglot "
            "and of glyphs"
        )
    trained_on = frozenset(map(str, checkpoint.get(data, {}).get("train", ())))
    return Learner(method(module), path, module, trained_on, checkpoint["global_step"])


def in_order(learner: Learner) -> tuple[bool | str, ...]:
    """Where a learner stands: those that are shown first, then by name."""
    return *(learner.name != name for name in FIRST), learner.name


def method(module: EpisodicModule) -> str:
    """What a learner's method is called in the field."""
    if isinstance(module, MAMLModule):
        if module.inner_optimizer.learn == "meta-sgd":
            return "Meta-SGD"
        return "ANIL" if module.adapt_option == "head" else "FOMAML" if module.first_order else "MAML"
    return module.title


def apart(learners: Iterable[Learner]) -> list[Learner]:
    """The learners, those of the same name numbered."""
    seen: dict[str, int] = {}
    result = []
    for one in learners:
        seen[one.name] = seen.get(one.name, 0) + 1
        result.append(one if seen[one.name] == 1 else replace(one, name=f"{one.name} {seen[one.name]}"))
    return result


def held_out(learners: Iterable[Learner], trust: Sequence[str] = ()) -> Characters:
    """Characters that none of the learners was trained on: of the first one's test split, or glyphs in their place."""
    learners = list(learners)
    trained_on = frozenset().union(*(one.trained_on for one in learners))
    glyphs = "printed letters, bent at random, of alphabets some of which Omniglot has by hand"
    choices = []
    try:
        data = load(learners[0].path, typed({}, {}, trust)).data
        assert isinstance(data, ImageDataModule)
        kind = glyphs if isinstance(data, GlyphsDataModule) else "handwritten characters of Omniglot"
        choices.append((test_store(data), kind))
    except FewShotError:  # Omniglot is not here
        pass
    choices.append((test_store(GlyphsDataModule()), glyphs))
    for store, kind in choices:
        new = [index for index, name in enumerate(store.names) if name not in trained_on]
        if len(new) >= FEWEST:
            return Characters(store.select(new), kind)
    store, kind = choices[-1]
    return Characters(store, kind, "One of the learners was trained on some of these characters: it may know them.")


def test_store(data: ImageDataModule) -> ImageStore:
    """The images of the test split.

    Raises:
        FewShotError: If they are not here. They are not downloaded.
    """
    data.setup("test")
    return data.stores["test"]
