"""``fewshot reuse``: does a learner learn rapidly, or does it reuse its features?"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from fewshot.algorithms import AdaptingModule
from fewshot.checkpoints import read_checkpoint
from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.errors import FewShotError, at_least_one
from fewshot.evaluation.freezing import HEAD, NOTHING, blocks, frozen_parts, nil, partial_loop
from fewshot.evaluation.layers import before_and_after
from fewshot.evaluation.load import load
from fewshot.evaluation.measure import Accelerator, Row
from fewshot.evaluation.plan import named, tell_apart, typed
from fewshot.evaluation.reuse_report import EVERYTHING, NIL, Reuse, write_reuse
from fewshot.evaluation.similarity import cca, linear_cka
from fewshot.evaluation.without_trainer import batches_for_test, device_of
from fewshot.files import finite, make_folder
from fewshot.metrics import paired_difference, summarised
from fewshot.objectives import CLASSIFICATION
from fewshot.quiet import quietly
from fewshot.shipped import checkpoint_path
from fewshot.terminal import console

FEWEST = 8
"""Queries of a task below which similarities say nothing."""


def reuse(
    ckpt_paths: list[Path],
    similarity_episodes: int = 50,
    folder: Path = Path("logs/reuse"),
    data: dict[str, Any] = {},  # noqa: B006 (jsonargparse shows it)
    model: dict[str, Any] = {},  # noqa: B006
    trust: list[str] = [],  # noqa: B006
    accelerator: Accelerator = "auto",
) -> Reuse:
    """Asks learners that adapt what of them has to adapt: rapid learning, or feature reuse?

    Raghu, Raghu, Bengio and Vinyals, 2020, Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of
    MAML, https://arxiv.org/abs/1909.09157. Each learner is tested with its first blocks frozen, its head frozen,
    everything frozen, and without a head (NIL), on the same episodes, as paired differences to the whole. And the
    representations of a task's queries before and after adaptation are compared, block by block, by linear CKA and CCA.
    Writes reuse.json, freezing.csv, similarity.csv, freezing.png and similarity.png.

    Args:
        ckpt_paths: Checkpoints that ``fewshot fit`` wrote, as in [a.ckpt,b.ckpt], of MAML and its relatives.
        similarity_episodes: Compare representations on so many of the test episodes. They want many queries:
            --data.test_queries 19 takes all that Omniglot has at one shot.
        folder: Where the results go.
        data: Options of the data for all checkpoints as in ``fewshot test``: --data.test_queries 19, ...
        model: Options of the learners for all checkpoints as in ``fewshot test``: --model.test_adaptation_steps 10, ...
        trust: Modules of your own, as in [my.module], whose classes the checkpoints may use.
        accelerator: Where to run.

    Returns:
        The rows of the two tables. Accuracies are 0 to 1.

    Raises:
        FewShotError: If a checkpoint or an option is wrong, or a learner takes no gradient steps.
    """
    if not ckpt_paths:
        raise FewShotError("no checkpoint to ask: give some, as in --ckpt_paths [a.ckpt,b.ckpt]")
    at_least_one(similarity_episodes=similarity_episodes)
    make_folder(folder)
    device = device_of(accelerator)
    paths = [checkpoint_path(path) for path in ckpt_paths]
    names, found = [], []
    for path in track(paths, description="Asking", console=console()):
        with named(path), quietly():
            name, module, episodes, step = _trained(path, ["--data.meta_batch_size=10", *typed(data, model, trust)])
            found.append(
                _ask(module.to(device), episodes, similarity_episodes, {"outer_step": step, **module.describe()})
            )
            names.append(name)
    result = Reuse([], [])
    for name, one in zip(tell_apart(names, paths), found):
        for rows, own in zip(result, one):
            rows.extend(finite([{"name": name, **row} for row in own]))
    write_reuse(result, folder)
    return result


def _trained(path: Path, options: Sequence[str]) -> tuple[str, AdaptingModule, EpisodicDataModule, int]:
    """The name of a checkpoint's run, its learner in evaluation mode, its data, and the outer steps it has had."""
    name, module, data, _ = load(path, options)
    if not isinstance(module, AdaptingModule):
        raise FewShotError(
            f"{module.title} takes no gradient steps: there is nothing to freeze. Ask MAML or a relative"
        )
    checkpoint = read_checkpoint(path)
    return name, module.restored(checkpoint), data, checkpoint["global_step"]


def _ask(module: AdaptingModule, data: EpisodicDataModule, compared: int, about: Row) -> Reuse:
    """Both tables of one learner, but for its name."""
    if data.episodes["test"] < 2:
        raise FewShotError("one episode tells nothing of a difference: set --data.test_episodes to more than 1")
    parts = blocks(module.network)
    variants = frozen_parts(parts, list(module.adapted_parameters()))
    scores: dict[str, list[float]] = defaultdict(list)
    alike: dict[str, dict[str, list[float]]] = {part: {"cka": [], "cca": []} for part in parts}
    for episode in batches_for_test(data, module.device):
        for name, outputs in _outputs(module, episode, variants).items():
            scores[name] += module.objective.judge(outputs, episode.query.y).tolist()
        seen = len(alike[HEAD]["cka"])
        if seen < compared:
            for chunk in episode.chunks(compared - seen)[:1]:
                _compare(module, chunk, parts, alike)
    metric = {"metric": module.objective.metric, **about}
    freezing = [{"frozen": name, **metric, **_against(own, scores[NOTHING])} for name, own in scores.items()]
    similarity = [
        {"block": part, **about, **_mean("cka", own["cka"]), **_mean("cca", own["cca"])} for part, own in alike.items()
    ]
    return Reuse(freezing, similarity)


def _outputs(module: AdaptingModule, episode: Episode, variants: Mapping[str, list[str]]) -> dict[str, torch.Tensor]:
    """What the learner says of the queries with each part frozen, with everything frozen, and without a head."""
    support, x = episode.support, episode.query.x
    loops = {name: partial_loop(module, names) for name, names in variants.items()}
    with torch.enable_grad():  # whose graph is not kept
        said = {
            name: module.adapted(support, module.test_adaptation_steps, "none", loop)(x) for name, loop in loops.items()
        }
        said[EVERYTHING] = module.adapted(support, 0, "none", module.test_inner_loop)(x)
    if module.objective is CLASSIFICATION:
        said[NIL] = nil(module, episode)
    return said


def _compare(module: AdaptingModule, episode: Episode, parts: Mapping[str, list[str]], alike: dict[str, Any]) -> None:
    """Adds the similarities of each task to the lists."""
    if episode.query.y.shape[1] < FEWEST:
        raise FewShotError(
            f"{episode.query.y.shape[1]} queries a task are too few to compare representations: --data.test_queries 19"
        )
    for pair in before_and_after(module, episode, parts):
        for part in parts:
            before, after = (one[part].float() for one in pair)
            alike[part]["cka"].append(linear_cka(before.flatten(1), after.flatten(1)))
            alike[part]["cca"].append(cca(_places(before), _places(after)))


def _places(features: torch.Tensor) -> torch.Tensor:
    """Feature maps ``[n, C, H, W]`` as ``[n*H*W, C]``: each place counts as an input."""
    return features.movedim(1, -1).flatten(0, -2) if features.ndim == 4 else features


def _mean(kind: str, values: Sequence[float]) -> Row:
    mean, _, ci95, _ = summarised(values)
    return {kind: mean, f"{kind}_ci95": ci95}


def _against(own: Sequence[float], whole: Sequence[float]) -> Row:
    """The mean score, and its paired difference to that of the whole learner."""
    difference = paired_difference(own, whole)
    return {
        **_mean("score", own),
        "difference": difference.mean,
        "difference_ci95": difference.ci95,
        "p": difference.p,
        "episodes": difference.episodes,
    }
