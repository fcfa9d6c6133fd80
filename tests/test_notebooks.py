"""The notebooks run from their first cell to their last, and are kept without outputs."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from helpers import REPOSITORY

NOTEBOOKS = sorted(REPOSITORY.glob("notebooks/*.ipynb"))
SMALL = {"STEPS, EPISODES = 300, 200": "STEPS, EPISODES = 3, 4"}
"""What makes a notebook run in seconds."""


def cells(notebook: Path) -> list[str]:
    """The code of each cell."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    codes = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    for full, small in SMALL.items():
        codes = [code.replace(full, small) for code in codes]
    return codes


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_the_cells_run_one_after_another(notebook, tmp_path, monkeypatch):
    """As Jupyter runs them, in one namespace; they are plain Python, without its magic."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(cells(notebook), start=1):
        exec(compile(code, f"{notebook.name}, cell {number}", "exec"), names)
    plt.close("all")
    if notebook.stem == "quickstart":
        assert names["STEPS"] == 3
        assert len(names["rows"]) == 2 * 4  # two learners, four numbers of shots
        assert {len(accuracies) for _, accuracies, _ in names["curves"].values()} == {3}
        assert names["accuracies"][-1] < max(names["accuracies"])  # a rate of 10 is too much for any learner
    if notebook.stem == "own_images":
        classifier, again, queries = names["classifier"], names["again"], names["queries"]
        assert again.predict(queries).tolist() == classifier.predict(queries).tolist()
        assert classifier.score(queries, [file.parent.name for file in queries]) > 0.5
        assert len(list(tmp_path.glob("*/results/contact_sheet.png"))) == 1


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_outputs_are_stripped(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
