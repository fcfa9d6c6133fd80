"""The benchmarks run, and measure the same work with every engine."""

import json

import pytest

import benchmarks.__main__ as command
from benchmarks import engines
from benchmarks.__main__ import SAME, main, measure, ratios
from benchmarks.floor import Products
from benchmarks.work import Work


def test_a_worker_measures_in_a_process_of_its_own():
    (row,) = measure(Work(3, 1, 2), ["vectorized"], rounds=2)
    assert (row["loss"], row["norm"]) == pytest.approx(engines.vectorized(Work(3, 1, 2))(), rel=SAME)
    assert len(row["seconds"]) == 2
    assert min(row["first"], *row["seconds"]) > 0
    assert row["peak_mb"] >= row["idle_mb"] > 0


def test_a_small_run_prints_tables_and_keeps_results_and_a_picture(here, tmp_path, capsys):
    both = ("vectorized", "learn2learn")
    main(out=tmp_path, engines=both, rounds=1, works=[Work(3, 1, 2)], tasks=[1], steps=[2], outer_steps=2)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["engine"] for row in results["table"]] == list(both)
    assert len(results["tasks"]) == len(results["steps"]) == 2
    assert set(results["pipeline"]) >= {"drawing its 32 tasks", "the same step alone"}
    results["pipeline"].pop("the first more than the second")  # which may be negative, by noise
    assert min(results["pipeline"].values()) > 0
    screen = capsys.readouterr().out
    assert results["machine"]["torch"] in screen
    assert "100 (100-100)" in screen  # milliseconds: median, lowest, highest
    assert (tmp_path / "times.png").stat().st_size > 10_000


def test_the_floor_is_the_products_alone_and_bf16_the_same_work_roughly():
    work = Work(3, 1, 2)
    loss, norm = engines.vectorized(work)()
    assert engines.bf16(work)() == pytest.approx((loss, norm), rel=0.1)  # eight bits of precision, second order
    module, episode = engines.learner(work, record=True)
    parameters, inputs = [*module.parameters()], [*episode.support, *episode.query]
    program = module.recording.program(parameters, inputs, module.order)
    done = Products(program)
    done.run(parameters, inputs)
    # Convolutions forwards: four layers for the support set, four for the queries.
    forwards = [node for node in program.graph.nodes if str(node.target) == "aten.convolution.default"]
    assert len(done.calls) > len(forwards) >= 8
    assert all(call() is not None for call in done.calls)
    engines.floor(work)()


def test_ratios_are_of_pairs():
    rows = [
        {**Work()._asdict(), "engine": engine, "seconds": seconds}
        for engine, seconds in {"recorded": [1.0, 2.0, 4.0], "learn2learn": [2.0, 6.0, 16.0]}.items()
    ]
    assert [[*column.cells] for column in ratios(rows).columns] == [[Work().name], ["-"], ["3.00"], ["-"], ["-"]]


def test_another_work_is_noticed(here, monkeypatch):
    monkeypatch.setattr(command, "SAME", 0.0)  # float32 sums in another order differ in the last digits
    with pytest.raises(RuntimeError, match="not the same work on 3w1s, 2 tasks, 5 steps, second order"):
        measure(Work(3, 1, 2, steps=5), ("vectorized", "learn2learn"), rounds=1)


@pytest.mark.parametrize("peer", ["higher", "torchopt", "jax"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_peer_does_the_same_work(peer, steps):
    pytest.importorskip(peer)
    work = Work(3, 1, 2, steps=steps)
    assert getattr(engines, peer)(work)() == pytest.approx(engines.vectorized(work)(), rel=SAME)


@pytest.mark.parametrize("engine", ["recorded", "sequential", "learn2learn", "jax"])
def test_first_order_is_the_same_work_for_all_and_another_one_than_second_order(engine):
    if engine == "jax":
        pytest.importorskip("jax")
    loss, norm = getattr(engines, engine)(Work(3, 1, 2, first_order=True))()
    assert (loss, norm) == pytest.approx(engines.vectorized(Work(3, 1, 2, first_order=True))(), rel=SAME)
    assert norm != pytest.approx(engines.vectorized(Work(3, 1, 2))()[1], rel=5 * SAME)
