"""The driver of docs/methods.md: every run, every table and the figure, and what was published."""

import re

import pytest

from fewshot.studies import methods
from fewshot.studies.figures import Figure, published, read_figures, write_figures
from fewshot.studies.methods import accuracy_table
from fewshot.studies.methods_figure import beside


def test_every_run_is_one_that_the_command_line_takes(only_parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "sweep", lambda *_, **__: pytest.skip("all were parsed"))
    try:
        methods.methods(folder=tmp_path)
    except pytest.skip.Exception:
        assert only_parsed == list(methods.TRAININGS)
    else:
        pytest.fail("nothing was tested")


def test_it_trains_tests_and_reports(tiny, tmp_path, omniglot, nothing_again, monkeypatch):
    few = {name: methods.TRAININGS[name] for name in ("mann", "ridge", "anil_20way")}
    monkeypatch.setattr(methods, "TRAININGS", few)
    options = {"folder": tmp_path / "study", "configs": tiny, "episodes": 2, "root": omniglot}
    methods.methods(**options, max_steps=1)
    report = tmp_path / "study" / "report"
    found = read_figures((report / "measured.tsv").read_text())
    assert {(one.method, one.ways, one.shots) for one in found} == {
        ("MANN", 5, 1), ("MANN", 5, 5), *(("Ridge (R2-D2)", ways, shots) for ways in (5, 20) for shots in (1, 5)),
        ("ANIL", 20, 1), ("ANIL", 20, 5), ("NIL", 20, 1), ("NIL", 20, 5),
    }  # fmt: skip
    tables = (report / "tables.md").read_text()
    assert re.search(r"^\| MANN \((in|trans)ductive\) \| [\d.]+ ± [\d.]+ / 82\.8 \|", tables, re.MULTILINE)
    assert "| anil_20way | 20 | 1 |" in tables
    assert (report / "methods.png").stat().st_size > 10_000

    nothing_again()
    methods.methods(**options, max_steps=1)
    assert read_figures((report / "measured.tsv").read_text()) == found


def test_published_figures_are_of_the_settings_and_have_sources():
    figures = published()
    assert {(one.ways, one.shots) for one in figures} == set(methods.SETTINGS)
    assert len({(one.method, one.ways, one.shots) for one in figures}) == len(figures)
    assert all(one.source and 0 < one.accuracy < 100 for one in figures)


def test_figures_are_read_as_they_were_written(tmp_path):
    figures = [Figure("a", 2016, 5, 1, 98.5, None, "b", ""), Figure("c", 2017, 20, 5, 97.25, 0.3, "d", "e")]
    write_figures(tmp_path / "table.tsv", figures)
    assert read_figures((tmp_path / "table.tsv").read_text()) == figures


def test_measured_and_published_stand_in_one_cell():
    ours = [
        Figure("MAML", 2017, 5, 1, 98.25, 0.3, "", "maml, transductive"),
        Figure("NIL", 2020, 20, 1, 90.0, 0.5, "", ""),
    ]
    theirs = [Figure("MAML", 2017, 5, 1, 98.7, 0.4, "", ""), Figure("MAML", 2017, 20, 1, 95.8, 0.3, "", "")]
    rows = accuracy_table(theirs, ours).splitlines()
    assert rows[2] == "| MAML (transductive) | 98.25 ± 0.3 / 98.7 ± 0.4 |  | 95.8 ± 0.3 |  |"
    assert rows[3] == "| NIL |  |  | 90.0 ± 0.5 |  |"


def test_methods_of_one_year_stand_side_by_side():
    assert beside([2016, 2017, 2017]) == pytest.approx([2016, 2016.825, 2017.175])
