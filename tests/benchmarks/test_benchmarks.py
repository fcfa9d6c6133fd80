"""The benchmarks run, and measure the same work with every engine."""

import json

import pytest

from benchmarks import engines
from benchmarks.__main__ import SAME, main, measure
from benchmarks.work import Work


def test_a_small_run_prints_tables_and_keeps_results_and_a_picture(tmp_path, capsys):
    both = ("vectorized", "learn2learn")
    main(out=tmp_path, engines=both, rounds=1, works=[Work(3, 1, 2)], tasks=[1], steps=[2], outer_steps=2)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["engine"] for row in results["table"]] == list(both)
    assert len(results["tasks"]) == len(results["steps"]) == 2
    assert all(row["peak_mb"] > 0 and len(row["seconds"]) == 1 for row in results["table"])
    assert set(results["pipeline"]) >= {"drawing its 32 tasks", "the same step alone"}
    assert results["machine"]["torch"] in capsys.readouterr().out
    assert (tmp_path / "times.png").stat().st_size > 10_000


def test_another_work_is_noticed(monkeypatch):
    monkeypatch.setattr("benchmarks.__main__.SAME", 0.0)  # float32 sums in another order differ in the last digits
    with pytest.raises(RuntimeError, match="not the same work on 3w1s, 2 tasks, 5 steps, second order"):
        measure(Work(3, 1, 2, steps=5), ("vectorized", "learn2learn"), rounds=1)


@pytest.mark.parametrize("peer", ["higher", "torchopt", "jax"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_peer_does_the_same_work(peer, steps):
    pytest.importorskip(peer)
    work = Work(3, 1, 2, steps=steps)
    assert getattr(engines, peer)(work)() == pytest.approx(engines.vectorized(work)(), rel=SAME)


@pytest.mark.parametrize("engine", ["compiled", "sequential", "learn2learn", "jax"])
def test_first_order_is_the_same_work_for_all_and_another_one_than_second_order(engine):
    if engine == "jax":
        pytest.importorskip("jax")
    loss, norm = getattr(engines, engine)(Work(3, 1, 2, first_order=True))()
    assert (loss, norm) == pytest.approx(engines.vectorized(Work(3, 1, 2, first_order=True))(), rel=SAME)
    assert norm != pytest.approx(engines.vectorized(Work(3, 1, 2))()[1], rel=5 * SAME)
