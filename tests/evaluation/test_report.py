"""What a test reports."""

import pytest
from helpers import reports
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.cli import main


def test_a_test_reports_what_a_figure_needs(maml, tmp_path, capsys):
    main(["test", f"--ckpt_path={maml}", f"--trainer.default_root_dir={tmp_path}", "--data.test_shots=4",
          "--model.test_adaptation_steps=5", "--data.test_episodes=6", "--data.meta_batch_size=4"])  # fmt: skip
    (report,) = reports(tmp_path)
    expected = {
        "algorithm": "MAMLModule", "episodes": 6, "ways": 5, "shots": 4, "queries": 5, "adaptation_steps": 5,
        "batch_norm": "transductive", "split": "glyphs/random", "rotations": False, "checkpoint": str(maml),
    }  # fmt: skip
    assert {key: report[key] for key in expected} == expected
    assert report["ci95"] == pytest.approx(1.96 * report["std"] / 6**0.5)
    assert 0 <= report["accuracy_before"] <= 1
    screen = capsys.readouterr().out
    assert f"{report['accuracy']:.2%} ± {report['ci95']:.2%}" in screen
    assert "test.json" in screen
    events = EventAccumulator(str(tmp_path / "logs" / "glyphs_maml" / "test" / "version_0")).Reload()
    assert events.Scalars("test/accuracy")[0].value == pytest.approx(report["accuracy"])
