"""The driver of docs/recipes.md: every run, and its table."""

from fewshot.evaluation.curves import Curve
from fewshot.studies import recipes
from fewshot.studies.recipes import AS_IT_IS, SEEDS, Trained, table


def test_every_run_is_one_that_the_command_line_takes(only_parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "SEEDS", (0,))
    monkeypatch.setattr(recipes, "read_curve", lambda *_: Curve([1], [0.5], [0.1]))
    recipes.recipes(folder=tmp_path)
    assert len(only_parsed) == len(set(only_parsed)) == sum(len(recipe.measures) for recipe in recipes.RECIPES.values())


def test_it_trains_and_reports(tiny, tmp_path, omniglot, nothing_again, monkeypatch):
    own = recipes.RECIPES["ProtoNet"]
    measures = {AS_IT_IS: {}, "no affine changes": own.measures["no affine changes"]}
    monkeypatch.setattr(
        recipes, "RECIPES", {"ProtoNet": own._replace(options={"trainer.max_steps": "1"}, measures=measures)}
    )
    options = {"folder": tmp_path / "study", "configs": tiny, "root": omniglot, "max_steps": 1}
    recipes.recipes(**options)
    tables = tmp_path / "study" / "report" / "tables.md"
    text = tables.read_text()
    assert "## ProtoNet\n" in text
    assert text.count("| 1 |") == 2  # outer steps
    assert len(list((tmp_path / "study" / "checkpoints").glob("*/last.ckpt"))) == 2 * len(SEEDS)

    nothing_again()
    recipes.recipes(**options)
    assert tables.read_text() == text


def test_a_gain_is_the_mean_of_what_each_seed_gained():
    found = {
        AS_IT_IS: [Trained(90, 10, 1.0), Trained(92, 10, 3.0)],
        "more": [Trained(91, 10, 2.0), Trained(95, 10, 2.0)],
    }
    assert table(found).splitlines()[2:] == [
        "| the recipe | 91.00 |  | 10 | 2.0 |",
        "| more | 93.00 | +2.00 (+1.00, +3.00) | 10 | 2.0 |",
    ]
