"""The driver of docs/results.md: the checkpoints that come along in the settings of the papers."""

import shutil

import pytest
from helpers import REPOSITORY

from fewshot.cli import main
from fewshot.studies import results
from fewshot.studies.exported import MODES, Exported, exported
from fewshot.studies.figures import Figure, read_figures
from fewshot.studies.results_pages import CHECKPOINTS, FIGURES, RESULTS, results_table, write_pages

MAML = Exported("MAML", 2017, "maml_5w1s", (5,), MODES["adapts"], "400 outer steps, 8 minutes", "fewshot fit")
PROTONET = Exported("ProtoNet", 2017, "protonet_5w1s", (5, 20), MODES["prototypes"][-1:], "as long", "fewshot fit")


@pytest.fixture
def clone(tmp_path):
    """The pages of this repository, and what they are made of, at a place of their own."""
    for file in (FIGURES, RESULTS, CHECKPOINTS):
        (tmp_path / "clone" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, tmp_path / "clone" / file)
    return tmp_path / "clone"


def test_it_tests_in_every_setting_and_goes_on_where_it_was(tmp_path, omniglot, monkeypatch):
    monkeypatch.setattr(results, "exported", lambda: [MAML, PROTONET])
    monkeypatch.setattr(results, "SETTINGS", [(5, 1), (20, 2)])
    results.results(tmp_path, episodes=2, root=omniglot)
    found = read_figures((tmp_path / "report" / "results.tsv").read_text())
    assert [(one.source, one.ways, one.shots, one.conditions) for one in found] == [
        ("maml_5w1s --data.test_queries K", 5, 1, "transductive, as many queries as shots"),
        ("maml_5w1s", 5, 1, "transductive"),
        ("maml_5w1s --model.batch_norm inductive", 5, 1, "inductive"),
        *(
            ("protonet_5w1s --model.test_shift 1 --model.test_refinement_steps 5", *setting,
             "transductive, refined over shifts")
            for setting in ((5, 1), (20, 2))
        ),
    ]  # fmt: skip
    assert (
        "| MAML, inductive | `maml_5w1s --model.batch_norm inductive` |"
        in (tmp_path / "report" / "tables.md").read_text()
    )
    monkeypatch.setattr("fewshot.evaluation.measure._test", lambda *_: 1 / 0)  # nothing is tested again
    results.results(tmp_path, episodes=2, root=omniglot)
    assert read_figures((tmp_path / "report" / "results.tsv").read_text()) == found


def test_what_was_measured_stands_above_what_was_published():
    ours = [
        Figure("MAML", 2017, 5, shots, accuracy, 0.3, "maml_5w1s", "transductive")
        for shots, accuracy in ((1, 98.25), (5, 99.5))
    ]
    theirs = [Figure("MAML", 2017, 5, 1, 98.7, 0.4, "Finn et al., 2017", "transductive")]
    assert results_table([MAML], ours, theirs).splitlines()[2:] == [
        "| MAML, transductive | `maml_5w1s` | 400 outer steps, 8 minutes | 98.25 ± 0.30 | 99.50 ± 0.30 |  |  |",
        "| *published (Finn et al., 2017; transductive)* |  |  | 98.7 ± 0.4 |  |  |  |",
    ]


def test_the_pages_are_what_the_driver_writes_of_what_was_measured(clone):
    write_pages(clone, exported(), [])
    for page in (FIGURES, RESULTS, CHECKPOINTS):
        assert (clone / page).read_text() == (REPOSITORY / page).read_text()


def test_every_checkpoint_of_omniglot_has_its_line_and_was_measured_as_it_was_trained():
    there = {path.stem for path in (REPOSITORY / "checkpoints" / "pretrained").glob("*_*w*s.ckpt")}
    assert {learner.checkpoint for learner in exported()} == there
    measured = {(one.source, one.ways, one.shots) for one in read_figures((REPOSITORY / FIGURES).read_text())}
    assert {(learner.checkpoint, *learner.setting) for learner in exported()} <= measured


def test_what_is_measured_anew_takes_the_place_of_what_was_and_the_rest_stays(clone, tmp_path, omniglot, monkeypatch):
    ridge = next(learner for learner in exported() if learner.checkpoint == "ridge_5w1s")
    monkeypatch.setattr(results, "SETTINGS", [ridge.setting])
    before = read_figures((clone / FIGURES).read_text())
    main(["results", f"--folder={tmp_path / 'results'}", "--checkpoints=[ridge_5w1s]", "--episodes=2",
          f"--root={omniglot}", f"--repository={clone}"])  # fmt: skip
    after = read_figures((clone / FIGURES).read_text())
    (changed,) = (one for one in after if one.source == "ridge_5w1s")
    assert [one for one in after if one != changed] == [one for one in before if one.source != "ridge_5w1s"]
    assert (
        f"| Ridge (R2-D2), inductive | `ridge_5w1s` | {ridge.trained} | {changed.accuracy:.2f} ± "
        in (clone / RESULTS).read_text()
    )


def test_a_mistake_is_one_line(tmp_path, clone, fails, monkeypatch):
    assert fails("results", "--checkpoints=[nothing]").startswith("there is no checkpoint 'nothing' of Omniglot; with")
    assert fails("results", "--episodes=1") == "episodes must be at least 2, not 1"
    monkeypatch.setattr(results, "exported", list)
    folder = f"--folder={tmp_path / 'results'}"
    assert str(tmp_path) in fails("results", folder, f"--repository={tmp_path}")
    (clone / RESULTS).write_text("No table.")
    assert "results.md has no lines <!-- results -->" in fails("results", folder, f"--repository={clone}")
