"""The driver of docs/results.md: the checkpoints that come along in the settings of the papers."""

from fewshot.studies import results
from fewshot.studies.figures import Figure, read_figures
from fewshot.studies.results import ADAPTS, PROTOTYPES, Exported, results_table


def test_it_tests_in_every_setting_and_goes_on_where_it_was(tmp_path, omniglot, monkeypatch):
    few = (
        Exported("MAML", 2017, "maml_5w1s", (5,), ADAPTS),
        Exported("ProtoNet", 2017, "protonet_5w1s", (5, 20), PROTOTYPES[-1:]),
    )
    monkeypatch.setattr(results, "CHECKPOINTS", few)
    monkeypatch.setattr(results, "SETTINGS", [(5, 1), (20, 2)])
    results.results(tmp_path, episodes=2, root=omniglot)
    found = read_figures((tmp_path / "report" / "results.tsv").read_text())
    assert [(one.method, one.ways, one.shots, one.conditions) for one in found] == [
        ("MAML", 5, 1, "transductive, 1 queries"),  # as many as shots, as the paper has
        ("MAML", 5, 1, "inductive, 5 queries"),
        ("ProtoNet", 5, 1, "transductive, refined over shifts, 5 queries"),
        ("ProtoNet", 20, 2, "transductive, refined over shifts, 5 queries"),
    ]
    assert "| MAML | `maml_5w1s` | inductive |" in (tmp_path / "report" / "tables.md").read_text()
    monkeypatch.setattr("fewshot.evaluation.measure._test", lambda *_: 1 / 0)  # nothing is tested again
    results.results(tmp_path, episodes=2, root=omniglot)
    assert read_figures((tmp_path / "report" / "results.tsv").read_text()) == found


def test_what_was_measured_stands_above_what_was_published():
    ours = [
        Figure("MAML", 2017, 5, shots, accuracy, 0.3, "maml", f"transductive, {shots} queries")
        for shots, accuracy in ((1, 98.25), (5, 99.5))
    ]
    theirs = [Figure("MAML", 2017, 5, 1, 98.7, 0.4, "Finn et al., 2017", "transductive")]
    assert results_table(ours, theirs).splitlines()[2:] == [
        "| MAML | `maml` | transductive | 98.25 ± 0.3 | 99.5 ± 0.3 |  |  |",
        "| MAML | published | Finn et al., 2017 | 98.7 ± 0.4 |  |  |  |",
    ]
