"""The race: the clock, the records, and that every contestant trains, is validated and tested."""

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks.race import __main__ as command
from benchmarks.race import ours, record
from benchmarks.race.peer import MAKERS, Episodes, maker, race
from benchmarks.race.record import Record
from benchmarks.race.report import table
from fewshot.cli import main as fewshot

FEW = {"val_episodes": 2, "test_episodes": 2}
TINY = ["--data.val_episodes=2", "--data.test_episodes=3", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets, in seconds."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(record.time, "time", lambda: now.seconds)
    return now


@pytest.fixture
def here(monkeypatch, omniglot):
    """Runs fewshot in this process, on few episodes."""
    monkeypatch.setattr(ours, "command", lambda words: fewshot([*words, *TINY]))


def test_validation_is_not_counted_and_the_start_is(clock, tmp_path):
    kept = Record(tmp_path / "a.json", started=90.0)
    assert kept.seconds() == 10
    with kept.stopped():
        clock.seconds = 107.0
    clock.seconds = 110.0
    assert kept.seconds() == 13


def test_the_first_state_to_reach_a_mark_is_kept_and_so_is_the_best(tmp_path):
    kept = Record(tmp_path / "a.json", started=0.0)
    assert kept.validated(1, 10, 0.95) == ["best"]
    assert kept.validated(2, 20, 0.985) == ["97.0", "98.0", "best"]
    assert kept.validated(3, 30, 0.98) == []
    assert kept.validated(4, 40, 0.99) == ["98.8", "best"]
    states = json.loads((tmp_path / "a.json").read_text())["states"]
    assert {name: state["point"][0] for name, state in states.items()} == {"best": 4, "97.0": 2, "98.0": 2, "98.8": 4}


def test_a_table_by_hand(tmp_path):
    kept = Record(tmp_path / "a.json", started=0.0)
    kept.validated(90, 10, 0.97)
    kept.validated(120, 20, 0.96)
    kept.tested("97.0", 0.965, 0.004)
    row = table({"jax": kept.content}).splitlines()[-1]
    assert row == (
        "| jax (unfinished) | 1.50 (test 96.50 ± 0.40) | not reached | not reached | 97.00 (not tested) | 2.0 | 20 |"
    )


def test_all_contestants_are_judged_on_the_same_episodes(omniglot):
    one, other = (Episodes(ways=ways, queries=queries) for ways, queries in ((5, 1), (30, 15)))
    for split in ("val", "test"):
        ours, theirs = (episodes.meta_batch(split, 7, 2) for episodes in (one, other))
        assert torch.equal(ours.query.x, theirs.query.x)
        assert ours.query.y.shape == (2, 25)


@pytest.mark.parametrize("name", MAKERS)
def test_a_peer_trains_and_is_tested(name, omniglot, tmp_path):
    pytest.importorskip({"jax": "optax"}.get(name, name.partition("-")[0]))
    learner = maker(name)()
    episodes, untrained = Episodes(**FEW, **learner.data), learner.state()
    scores = episodes.scores(learner, "val").tolist()
    kept = Record(tmp_path / "a.json", started=record.time.time())
    never = 1.1  # the test's characters are easy, and 1 is soon reached
    race(learner, episodes, kept, minutes=1, until=never, steps=2, every=0)
    content = json.loads(kept.file.read_text())
    assert content["finished"]
    assert [steps for _, steps, _ in content["points"]] == [1, 2]
    assert 0.1 < content["states"]["best"]["test"] <= 1
    learner.restore(untrained)
    assert episodes.scores(learner, "val").tolist() == scores


def test_a_limit_ends_a_peer_after_one_step(omniglot, tmp_path):
    learner = maker("learn2learn-maml")()
    kept = Record(tmp_path / "a.json", started=0.0)  # long ago
    race(learner, Episodes(**FEW, **learner.data), kept, minutes=1, until=1.1, steps=None, every=20)
    assert [steps for _, steps, _ in kept.content["points"]] == [1]


def test_fewshot_runs_by_its_command_line_and_not_twice(here, tmp_path, capsys):
    command.main(("fewshot-protonet-short",), steps=2, until=0.1, out=tmp_path)
    content = json.loads((tmp_path / "fewshot-protonet-short.json").read_text())
    assert [steps for _, steps, _ in content["points"]] == [1]  # then it had reached enough
    assert 0.1 < content["states"]["best"]["test"] <= 1
    assert "| fewshot-protonet-short | " in (tmp_path / "race.md").read_text()
    assert (tmp_path / "race.png").stat().st_size > 10_000
    capsys.readouterr()
    command.main(("fewshot-protonet-short",), out=tmp_path)
    assert "fewshot-protonet-short has finished" in capsys.readouterr().out


def test_a_missing_library_is_said_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setitem(MAKERS, "jax", "nowhere.to_be_found:MAML")
    with pytest.raises(SystemExit, match=r'jax cannot run: No module named .*pip install -e "\.\[bench\]"'):
        command.main(("fewshot-maml", "jax"), out=tmp_path)
    assert not list(tmp_path.iterdir())
