"""``fewshot reuse``, as a user types it."""

import csv
import json

import pytest
from helpers import TINY, best

from fewshot.cli import main

SMALL = ["--data.test_episodes=6", "--similarity_episodes=2"]


@pytest.fixture(scope="module")
def found(maml, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reuse")
    main(["reuse", f"--ckpt_paths=[{maml}]", f"--folder={folder}", *SMALL])
    return folder


def test_it_says_what_tests_say(found, maml, tmp_path):
    """The whole learner and the one before adaptation are those of a test; the head alone is ANIL's test."""
    rows = {row["frozen"]: row for row in json.loads((found / "reuse.json").read_text())["freezing"]}
    assert list(rows) == ["nothing", "block 1", "blocks 1 to 2", "blocks 1 to 3", "blocks 1 to 4", "head", "everything",
                          "NIL"]  # fmt: skip
    for name, options in {"nothing": [], "blocks 1 to 4": ["--model.adapt=head"]}.items():
        place = tmp_path / name
        main(["test", f"--ckpt_path={maml}", "--data.test_episodes=6", f"--trainer.default_root_dir={place}", *options])
        (report,) = (json.loads(file.read_text()) for file in place.rglob("test.json"))
        assert rows[name]["score"] == pytest.approx(report["accuracy"], abs=1e-6)
        assert rows["everything"]["score"] == pytest.approx(report["accuracy_before"], abs=1e-6)
    assert rows["nothing"]["difference"] == 0
    for row in rows.values():
        assert row["difference"] == pytest.approx(row["score"] - rows["nothing"]["score"], abs=1e-6)


def test_tables_and_pictures_are_written(found):
    with (found / "freezing.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 8
    with (found / "similarity.csv").open() as file:
        similarity = list(csv.DictReader(file))
    assert [row["block"] for row in similarity] == ["block 1", "block 2", "block 3", "block 4", "head"]
    assert {row["outer_step"] for row in similarity} == {"2"}
    assert all(0 <= float(row["cca"]) <= 1 and float(row["cka"]) <= 1 + 1e-6 for row in similarity)
    for picture in ("freezing.png", "similarity.png"):
        assert (found / picture).stat().st_size > 10_000


def test_regressions_are_asked_too_but_have_no_nil(tmp_path, capsys):
    main(["fit", "--config=sinusoid_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, "--model.record=false"])
    main(["reuse", f"--ckpt_paths=[{best(tmp_path, 'sinusoid_maml')}]", f"--folder={tmp_path}", *SMALL])
    rows = json.loads((tmp_path / "reuse.json").read_text())["freezing"]
    assert [row["frozen"] for row in rows] == ["nothing", "block 1", "blocks 1 to 2", "head", "everything"]
    assert {row["metric"] for row in rows} == {"mse"}
    assert "blocks 1 to 2" in capsys.readouterr().out


def test_mistakes(maml, protonet, tmp_path, fails):
    assert "no checkpoint to ask" in fails("reuse", "--ckpt_paths=[]")
    assert "ProtoNet takes no gradient steps" in fails("reuse", f"--ckpt_paths=[{protonet}]", f"--folder={tmp_path}")
    few = fails("reuse", f"--ckpt_paths=[{maml}]", "--data.test_queries=1", f"--folder={tmp_path}")
    assert "5 queries a task are too few" in few
    none = fails("reuse", f"--ckpt_paths=[{maml}]", "--similarity_episodes=0", f"--folder={tmp_path}")
    assert none == "similarity_episodes must be at least 1, not 0"
    one = fails("reuse", f"--ckpt_paths=[{maml}]", "--data.test_episodes=1", f"--folder={tmp_path}")
    assert one.endswith("one episode tells nothing of a difference: set --data.test_episodes to more than 1")
