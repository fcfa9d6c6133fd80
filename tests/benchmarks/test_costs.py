"""The costs of MAML's relatives are measured, tabled and drawn."""

import json

from benchmarks import costs


def test_the_costs_are_measured_and_drawn(here, tmp_path, capsys):
    costs.main(out=tmp_path, algorithms=("imaml",), rounds=1, tasks=2, steps=[1])
    rows = json.loads((tmp_path / "costs.json").read_text())["rows"]
    assert [row["engine"] for row in rows] == ["imaml"]
    assert all(row["peak_mb"] > row["idle_mb"] > 0 and len(row["seconds"]) == 1 for row in rows)
    assert (tmp_path / "costs.png").stat().st_size > 10_000
    assert (tmp_path / "costs.md").read_text().startswith("| inner steps | imaml, ms | imaml, MB |")
    assert "costs.md" in capsys.readouterr().out
