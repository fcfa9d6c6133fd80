"""A memory network's accuracy at each instance of a class, from the command line and counted by hand."""

import json

import pytest
import torch
from helpers import TINY, best

from fewshot.algorithms import MANNModule
from fewshot.cli import main
from fewshot.evaluation.instances import by_instance
from fewshot.evaluation.load import load


@pytest.fixture(scope="module")
def mann(tmp_path_factory):
    root = tmp_path_factory.mktemp("mann")
    small = ["--model.network.channels=4", "--model.hidden=8", "--model.rows=12", "--model.width=4"]
    main(["fit", "--config=glyphs_mann", f"--trainer.default_root_dir={root}", *TINY, *small, "--trainer.logger=false"])
    return best(root, "glyphs_mann")


def test_the_table_is_the_mean_over_the_test_episodes(mann, tmp_path, capsys):
    words = [f"--ckpt_path={mann}", f"--folder={tmp_path}", "--data.test_queries=3", "--data.test_episodes=6"]
    main(["instances", *words, "--accelerator=cpu"])
    rows = json.loads((tmp_path / "instances.json").read_text())["instances"]
    module = MANNModule.load_from_checkpoint(mann)
    data = load(mann, ["--data.test_queries=3", "--data.test_episodes=6"]).data
    expected = by_instance(module, data)
    assert expected.shape == (6, 4)
    assert [row["accuracy"] for row in rows] == pytest.approx(expected.mean(0).tolist())
    assert [row["episodes"] for row in rows] == [6] * 4
    screen = capsys.readouterr().out
    assert "82.8%" in screen  # published, at the second instance
    assert f"{rows[1]['accuracy']:.2%}" in screen
    assert len((tmp_path / "instances.csv").read_text().splitlines()) == 5


def test_every_example_of_an_episode_is_an_instance(mann):
    module, data = MANNModule.load_from_checkpoint(mann), load(mann, ["--data.test_episodes=2"]).data
    data.setup("test")
    (batch,) = data.test_dataloader()
    episode = data.on_after_batch_transfer(batch, 0)
    counted = module.instances(episode)
    assert counted.shape == (2, 6)  # one support and five queries of each class
    assert torch.equal(counted * 5, (counted * 5).round())


def test_who_cannot_take_part_is_refused_in_one_line(mann, protonet, tmp_path, fails):
    place = f"--folder={tmp_path}"
    message = fails("instances", f"--ckpt_path={protonet}", place)
    assert "ProtoNet reads no sequence: instances takes checkpoints of MANNModule" in message
    message = fails("instances", f"--ckpt_path={mann}", place, "--data.test_ways=7")
    assert "it was trained at 5 ways, and the data have 7" in message
