"""Which of two learners is better, episode by episode."""

import json

import pytest
from helpers import SMALL_NETWORK, TINY, best

from fewshot.cli import main


def test_a_comparison_is_paired(both, tmp_path, capsys):
    words = [both, "--shots=[1,4]", f"--folder={tmp_path}", "--data.test_episodes=8"]
    main(["compare", *words])
    ours, theirs = (row["scores"] for row in json.loads((tmp_path / "results.json").read_text())[:2])
    first, second = json.loads((tmp_path / "compare.json").read_text())
    assert (first["first"], first["second"]) == ("glyphs_maml", "glyphs_protonet")
    assert (first["value"], second["value"]) == (1, 4)
    differences = [a - b for a, b in zip(ours, theirs)]
    mean = sum(differences) / 8
    error = (sum((d - mean) ** 2 for d in differences) / 7 / 8) ** 0.5
    assert first["difference"] == pytest.approx(mean)
    assert first["t"] == pytest.approx(mean / error)
    assert first["ci95"] == pytest.approx(2.364624 * error)  # the 97.5 % quantile of Student's t with 7 degrees
    ahead = "undecided" if abs(mean) < first["ci95"] else f"glyphs_{'maml' if mean > 0 else 'protonet'} is ahead"
    assert first["verdict"] == ahead
    assert (first["first_transductive"], first["second_transductive"]) == (True, False)
    screen = capsys.readouterr().out
    assert f"{100 * mean:+.2f}" in screen
    assert (tmp_path / "difference.png").exists()
    assert {"(t)", "(i)"} <= set(screen.split())
    main(["sweep", *words])  # tests nothing again
    assert {"(transductive)", "(inductive)"} <= set(capsys.readouterr().out.split())


def test_a_learner_is_not_ahead_of_itself(maml, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(maml.read_bytes())
    main(["compare", f"--ckpt_paths=[{maml},{copy}]", f"--folder={tmp_path}"])
    (pair,) = json.loads((tmp_path / "compare.json").read_text())
    assert (pair["first"], pair["second"]) == ("glyphs_maml/best", "glyphs_maml/copy")  # the name is the same
    assert (pair["difference"], pair["t"], pair["p"], pair["verdict"]) == (0, 0, 1, "undecided")


def test_learners_that_diverge_are_not_compared(maml, tmp_path, capsys):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(maml.read_bytes())
    words = ["compare", f"--ckpt_paths=[{maml},{copy}]", "--shots=[1]", f"--folder={tmp_path}"]
    for _ in ("tested", "read again"):
        main([*words, "--model.inner_lr=1e38"])
        (pair,) = json.loads((tmp_path / "compare.json").read_text())
        assert (pair["first_score"], pair["difference"], pair["verdict"]) == (None, None, "not finite")
        screen = capsys.readouterr().out
        assert screen.count("not finite") >= 3
        assert "nan" not in screen
    for file in ("tested.json", "results.json", "compare.json"):
        assert "NaN" not in (tmp_path / file).read_text()


def test_a_sweep_is_not_tested_again_to_be_compared(both, tested, tmp_path):
    for command in ("sweep", "compare"):
        main([command, both, "--shots=[1]", f"--folder={tmp_path}"])
    assert len(tested) == 2


def test_checkpoints_of_different_episodes_are_not_compared(maml, tmp_path, fails):
    main(["fit", "--config=glyphs_maml", f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK,
          "--data.seed=7", "--model.meta_lr=0.002", "--trainer.logger=false"])  # fmt: skip
    words = ["compare", f"--ckpt_paths=[{maml},{best(tmp_path)}]", f"--folder={tmp_path / 'compare'}"]
    message = "would not be tested on the same episodes: --data.seed is 0 for one and 7 for the other. Set it for both"
    assert message in fails(*words)
    assert not (tmp_path / "compare").exists()
    main([*words, "--data.seed=0"])
