"""How the score depends on one thing at test time."""

import csv
import json
import re
import shutil
import signal

import pytest
import torch
from helpers import reports
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.cli import main
from fewshot.data import cache
from fewshot.evaluation import measure, read_curve
from fewshot.evaluation.tested import read_tested
from fewshot.signals import Stopped


def test_a_sweep_says_what_tests_say(both, tmp_path, capsys):
    folder = tmp_path / "sweep"
    main(["sweep", both, "--shots=[4,1]", f"--folder={folder}", "--data.test_episodes=6"])
    screen = capsys.readouterr().out
    swept = json.loads((folder / "results.json").read_text())
    assert [(row["name"], row["value"]) for row in swept] == [
        ("glyphs_maml", 1), ("glyphs_protonet", 1), ("glyphs_maml", 4), ("glyphs_protonet", 4),
    ]  # fmt: skip
    for number, row in enumerate(swept):
        place = tmp_path / str(number)
        main(["test", f"--ckpt_path={row['checkpoint']}", f"--data.test_shots={row['value']}",
              f"--trainer.default_root_dir={place}", "--data.test_episodes=6"])  # fmt: skip
        (report,) = reports(place)
        for name in ("accuracy", "std", "ci95", "episodes", "ways", "shots", "split_digest", "adaptation_steps"):
            assert row.get(name) == pytest.approx(report.get(name), abs=1e-6)  # as scores are rounded
        assert (row["fingerprint"], row["versions"]) == (report["fingerprint"], report["versions"])
        assert None not in report["fingerprint"].values()
        assert len(row["scores"]) == 6
        assert sum(row["scores"]) / 6 == pytest.approx(row["accuracy"], abs=1e-6)
        assert f"{row['accuracy']:.2%}" in screen
    with (folder / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line["score"]) for line in table] == [row["accuracy"] for row in swept]
    assert {"algorithm", "knob", "std", "ci95", "episodes", "split", "seconds"} <= table[0].keys()
    assert (folder / "accuracy.png").stat().st_size > 10_000
    events = EventAccumulator(str(folder / "tensorboard" / "glyphs_maml")).Reload()
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("test/accuracy_over_shots")] == [
        (row["value"], row["accuracy"]) for row in swept if row["name"] == "glyphs_maml"
    ]
    assert events.Tags()["images"] == ["test/accuracy_over_shots/figure"]


@pytest.mark.parametrize(("knob", "learner"), [("adaptation_steps", "maml"), ("queries", "maml")])
def test_every_knob_turns(knob, learner, request, tmp_path):
    checkpoint = request.getfixturevalue(learner)
    main(["sweep", f"--ckpt_paths=[{checkpoint}]", f"--{knob}=[2,3]", f"--folder={tmp_path}"])
    assert [row[knob] for row in json.loads((tmp_path / "results.json").read_text())] == [2, 3]


def test_what_a_learner_cannot_do_is_left_out(both, maml, protonet, tmp_path, capsys, fails):
    main(["sweep", both, "--ways=[5,6]", f"--folder={tmp_path}"])
    screen = " ".join(capsys.readouterr().out.split())
    assert f"Left out: ways = 6 of {maml}: MAML's head has 5 outputs and cannot judge 6-way episodes" in screen
    assert "Transductive learners see all queries of an episode together" in screen
    tested = json.loads((tmp_path / "results.json").read_text())
    assert [(row["name"], row["ways"]) for row in tested] == [
        ("glyphs_maml", 5), ("glyphs_protonet", 5), ("glyphs_protonet", 6),
    ]  # fmt: skip
    main(["sweep", both, "--adaptation_steps=[1]", f"--folder={tmp_path}"])
    assert f"{protonet}: ProtoNet takes no adaptation steps, and is left out" in capsys.readouterr().out
    assert json.loads((tmp_path / "earlier_1" / "results.json").read_text()) == tested  # not replaced
    assert (tmp_path / "earlier_1" / "accuracy.png").exists()
    assert "none of these learners" in fails("sweep", f"--ckpt_paths=[{protonet}]", "--adaptation_steps=[1]")


def test_an_interrupted_sweep_goes_on_with_what_is_missing(both, tested, tmp_path, monkeypatch, capsys):
    words = ["sweep", both, "--shots=[1,2]", f"--folder={tmp_path}"]
    really = measure._test

    def test(*args):
        if len(tested) == 3:
            raise Stopped(signal.SIGINT)
        return really(*args)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "_test", test)
        with pytest.raises(Stopped):
            main(words)
    assert "The same command goes on with what is missing." in capsys.readouterr().out
    assert len(json.loads((tmp_path / "tested.json").read_text())) == 3
    assert not (tmp_path / "results.json").exists()
    main(words)
    assert tested[3:] == ["glyphs_protonet"]
    main(words)
    assert len(tested) == 4
    assert len(json.loads((tmp_path / "results.json").read_text())) == 4


def test_other_options_and_other_weights_are_tested_anew(maml, tested, tmp_path):
    path = tmp_path / "copy.ckpt"
    path.write_bytes(maml.read_bytes())
    words = ["sweep", f"--ckpt_paths=[{path}]", "--shots=[1]", f"--folder={tmp_path}"]
    main(words)
    main([*words, "--model.batch_norm=inductive"])
    assert len(tested) == 2
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.head.bias"] += 1
    torch.save(checkpoint, path)
    main(words)
    assert len(tested) == 3


def test_results_that_no_test_wrote_are_tested_anew(maml, tested, tmp_path, capsys):
    file = tmp_path / "tested.json"
    words = ["sweep", f"--ckpt_paths=[{maml}]", "--shots=[1]", f"--folder={tmp_path}"]
    main(words)
    (row,) = json.loads(file.read_text())
    damages = ["[{", "{}", "null", json.dumps([row, {**row, "accuracy": 1.0}, {"key": row["key"]}, 5, []])]
    messages = [*[f"{file} is damaged"] * 3, f"4 of the 5 results in {file} are not as a test of this version wrote"]
    for damaged, message in zip(damages, messages):
        file.write_text(damaged)
        capsys.readouterr()
        main(words)
        assert message in capsys.readouterr().out
        assert "scores" in json.loads(file.read_text())[0]
    assert len(tested) == 4  # the first of the five was whole
    for field in (*row, "added"):
        file.write_text(json.dumps([{**row, field: "changed"}, {n: v for n, v in row.items() if n != field}]))
        assert len(read_tested(file)) == (field == "added")


def test_a_sweep_of_one_episode_is_certain_of_nothing(maml, tmp_path, capsys):
    main(["sweep", f"--ckpt_paths=[{maml}]", "--shots=[1,2]", f"--folder={tmp_path}", "--data.test_episodes=1"])
    assert "±" not in capsys.readouterr().out
    for row in json.loads((tmp_path / "results.json").read_text()):
        assert (row["episodes"], row["std"], row["ci95"]) == (1, None, None)
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000


def test_the_images_are_loaded_once_for_all_values(of_omniglot, tested, tmp_path, monkeypatch):
    cache._in_memory.clear()
    loaded = []
    really = cache._read

    def read(*args):
        loaded.append(args)
        return really(*args)

    monkeypatch.setattr(cache, "_read", read)
    main(["sweep", f"--ckpt_paths=[{of_omniglot}]", "--shots=[1,2,3]", f"--folder={tmp_path}"])
    assert (len(tested), len(loaded)) == (3, 1)


def test_classes_that_were_trained_on_are_refused(maml, tmp_path, fails):
    message = fails("sweep", f"--ckpt_paths=[{maml}]", "--shots=[1]", f"--folder={tmp_path}", "--data.split_seed=1")
    assert re.search(r"\d+ of the \d+ test classes of split glyphs/random were trained on", message)


def test_a_sweep_leaves_other_logs_alone(runs, maml, tmp_path):
    shutil.copytree(runs / "logs", tmp_path / "logs")
    main(["sweep", f"--ckpt_paths=[{maml}]", "--shots=[1]", f"--folder={tmp_path / 'logs'}"])
    assert read_curve(tmp_path / "logs" / "glyphs_maml", "val/accuracy").steps == [2]
