"""Several trainings of one recipe are one learner."""

import json
import warnings

import numpy as np
import pytest
from helpers import SMALL_NETWORK, TINY, best
from scipy.stats import ttest_ind, ttest_rel

from fewshot.cli import main
from fewshot.evaluation.trainings import by_recipe
from fewshot.metrics import difference_of_means


def test_trainings_of_one_recipe_are_one_row(tmp_path, maml, capsys):
    for seed in (0, 1):  # as in the loop of fewshot sweep --help
        main(["fit", "--config=glyphs_protonet", f"--name=proto_{seed}", f"--seed_everything={seed}",
              f"--data.train_seed={seed}", *TINY, *SMALL_NETWORK, f"--trainer.default_root_dir={tmp_path}",
              "--trainer.logger=false"])  # fmt: skip
    paths = ",".join(map(str, [best(tmp_path, "proto_0"), best(tmp_path, "proto_1"), maml]))
    words = [f"--ckpt_paths=[{paths}]", f"--folder={tmp_path / 'out'}", "--data.test_episodes=6"]
    main(["sweep", *words, "--shots=[1,2]"])
    screen = " ".join(capsys.readouterr().out.split())
    assert "proto x 2" in screen
    assert "spread" in screen
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(rows) == 6  # each training is kept
    first, second, _ = (row["scores"] for row in rows[:3])
    assert first != second  # other weights, and the same episodes
    assert len({row["fingerprint"]["data"] for row in rows[:3]}) == 1
    main(["compare", *words])
    (pair,) = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (pair["first"], pair["second"]) == ("proto x 2", "glyphs_maml")
    assert pair["first_score"] == pytest.approx((sum(first) + sum(second)) / 12)


def test_trainings_that_differ_otherwise_are_no_recipe(tmp_path):
    words = [*TINY, *SMALL_NETWORK, f"--trainer.default_root_dir={tmp_path}", "--trainer.logger=false"]
    changes = {"a_0": [], "a_1": ["--trainer.max_steps=3"], "a_2": ["--data.meta_batch_size=1"]}
    for seed, (name, changed) in enumerate(changes.items()):
        main(["fit", "--config=glyphs_protonet", f"--name={name}", f"--data.train_seed={seed}", *words, *changed])
    paths = ",".join(str(best(tmp_path, name)) for name in changes)
    main(["compare", f"--ckpt_paths=[{paths}]", f"--folder={tmp_path / 'out'}", "--data.test_episodes=2"])
    assert len(json.loads((tmp_path / "out" / "compare.json").read_text())) == 3


def row(name: str, recipe: str, training: int, scores: list[float]) -> dict[str, object]:
    """The least that a row has."""
    return {"name": name, "recipe": recipe, "training": training, "value": 1, "metric": "accuracy", "loss": 1.0,
            "scores": scores, "checkpoint": f"{name}.ckpt"}  # fmt: skip


def test_recipes_whose_trainings_are_called_alike_stay_apart():
    rows = [row(f"run_{number}", "ab"[number > 2], number, [0.5, 0.7]) for number in (1, 2, 3, 4)]
    assert [one["name"] for one in by_recipe(rows)] == ["run_1, run_2", "run_3, run_4"]
    assert [one["name"] for one in by_recipe(rows[:2])] == ["run x 2"]


def test_of_one_episode_there_is_no_interval():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (merged,) = by_recipe([row("a_0", "a", 0, [0.5]), row("a_1", "a", 1, [0.7])])
    assert merged["accuracy"] == pytest.approx(0.6)
    assert merged["ci95"] is None


def test_a_test_over_trainings_and_episodes_between_the_two_that_are_known():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((1, 50)), rng.random((1, 50))
    known = ttest_rel(ours[0], theirs[0])
    found = difference_of_means(ours, theirs)  # one training each: the paired test over episodes
    assert (found.t, found.p) == pytest.approx((known.statistic, known.pvalue))
    ours, theirs = (np.repeat(rng.random((4, 1)), 50, axis=1) for _ in range(2))
    known = ttest_ind(ours[:, 0], theirs[:, 0], equal_var=False)
    found = difference_of_means(ours, theirs)  # no spread over episodes: Welch's test over trainings
    assert (found.t, found.p) == pytest.approx((known.statistic, known.pvalue))
