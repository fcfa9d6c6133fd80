"""Training curves, read back from TensorBoard's logs."""

import csv
from math import inf, isnan, nan
from pathlib import Path

import pytest
import yaml
from helpers import SMALL_NETWORK, TINY, best
from torch.utils.tensorboard import SummaryWriter

from fewshot.cli import main
from fewshot.evaluation import read_curve
from fewshot.plots import curves_figure, smoothed


def test_curves_go_on_over_a_resumed_run(tmp_path, capsys):
    place = [f"--trainer.default_root_dir={tmp_path}", *TINY, *SMALL_NETWORK, "--trainer.val_check_interval=2"]
    main(["fit", "--config=glyphs_protonet", *place, "--trainer.max_steps=2"])
    main(["fit", "--config=glyphs_protonet", *place, "--trainer.max_steps=5", "--overwrite=true"])
    last = best(tmp_path, "glyphs_protonet").with_name("last.ckpt")
    main(["fit", f"--ckpt_path={last}", *place, "--trainer.max_steps=8"])
    log = tmp_path / "logs" / "glyphs_protonet"
    curve = read_curve(log, "val/accuracy")
    assert curve.steps == [2, 4, 6, 8]  # the second start's, and those of the one that resumed it
    assert curve.minutes == sorted(curve.minutes)
    assert curve.minutes[0] > 0
    main(["curves", f"--runs=[{log}]", f"--folder={tmp_path / 'drawn'}"])
    with (tmp_path / "drawn" / "curves.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(line["step"]) for line in table] == curve.steps
    assert [float(line["value"]) for line in table] == curve.values
    assert (tmp_path / "drawn" / "curves.png").stat().st_size > 10_000
    assert {"glyphs_protonet", "(inductive)"} <= set(capsys.readouterr().out.split())
    before = (tmp_path / "drawn" / "curves.csv").read_bytes()
    main(["curves", f"--runs=[{log}]", f"--folder={tmp_path / 'drawn'}", "--tag=train/loss"])
    assert (tmp_path / "drawn" / "curves_train_loss.png").exists()
    assert (tmp_path / "drawn" / "curves.csv").read_bytes() == before


def write_start(run: Path, number: int, started_at: int, validated: list[int], resumed: str | None) -> None:
    """The log of one start of a run that takes a minute per outer step."""
    folder = run / "fit" / f"version_{number}"
    with SummaryWriter(str(folder)) as writer:
        for step in range(started_at, max(validated, default=started_at) + 1, 50):
            writer.add_scalar("train/loss" if step > started_at else "train/started_at", step, step, walltime=60 * step)
        for step in validated:
            writer.add_scalar("val/accuracy", number, step, walltime=60 * step)
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": run.name, "ckpt_path": resumed}))


def test_what_a_resumed_run_gave_up_is_left_out(tmp_path):
    run = tmp_path / "mine"
    write_start(run, 0, started_at=0, validated=[500], resumed=None)  # an older run of the same name
    write_start(run, 1, started_at=0, validated=[100, 200, 300, 400], resumed=None)  # killed after 400,
    write_start(run, 2, started_at=250, validated=[350, 450], resumed="checkpoints/mine/last.ckpt")  # resumed at 250,
    write_start(run, 10, started_at=450, validated=[550], resumed="checkpoints/mine/last.ckpt")  # and again at 450
    (run / "fit" / "version_2_old").mkdir()
    curve = read_curve(run, "val/accuracy")
    assert curve.steps == [100, 200, 350, 450, 550]
    assert curve.minutes == pytest.approx([100, 200, 350, 450, 550])
    assert curve.values == [1, 1, 2, 2, 10]
    write_start(run, 11, started_at=250, validated=[300], resumed="checkpoints/another/last.ckpt")
    assert read_curve(run, "val/accuracy").steps == [300]  # another run's past is not this one's


def test_a_start_that_logged_nothing_and_going_back_twice_lose_nothing_else(tmp_path):
    run = tmp_path / "mine"
    write_start(run, 0, started_at=0, validated=[100, 200, 1000], resumed=None)
    write_start(run, 1, started_at=1000, validated=[1100], resumed="checkpoints/mine/last.ckpt")
    write_start(run, 2, started_at=150, validated=[250], resumed="checkpoints/mine/best.ckpt")
    write_start(run, 3, started_at=250, validated=[300], resumed="checkpoints/mine/last.ckpt")
    (log,) = (run / "fit" / "version_3").glob("events*")
    log.write_bytes(b"")  # it was killed as it began
    assert read_curve(run, "val/accuracy").steps == [100, 250]


def test_a_run_whose_every_value_was_given_up_has_no_curve(tmp_path, fails):
    run = tmp_path / "mine"
    write_start(run, 0, started_at=0, validated=[50], resumed=None)
    write_start(run, 1, started_at=20, validated=[], resumed="checkpoints/mine/last.ckpt")
    assert "has no log of val/accuracy" in fails("curves", f"--runs=[{run}]", f"--folder={tmp_path}")


def test_a_tag_may_be_typed_as_tensorboard_shows_it(tmp_path):
    with SummaryWriter(str(tmp_path / "mine" / "fit" / "version_0")) as writer:
        writer.add_scalar("weights/inner_lr/head", 0.4, 1)
    words = ["curves", f"--runs=[{tmp_path / 'mine'}]", f"--folder={tmp_path}"]
    for tag in ("inner_lr", "weights/inner_lr", "weights/inner_lr/head"):
        main([*words, f"--tag={tag}"])
        assert "0.4" in (tmp_path / f"curves_{tag.removeprefix('weights/').replace('/', '_')}.csv").read_text()


def test_a_curve_of_few_points_is_not_smoothed():
    def lines(points: int) -> list:
        values = [0.0, 1.0] * (points // 2)
        axis = curves_figure({"a": (range(points), values, range(points))}, "accuracy", smoothing=0.6).axes[0]
        return axis.get_lines()

    (few,) = lines(10)
    assert few.get_marker() == "o"
    assert few.get_ydata().tolist() == [0, 1] * 5
    smooth, raw = lines(30)
    assert smooth.get_marker() in ("", "None")
    assert smooth.get_ydata().tolist() != raw.get_ydata().tolist() == [0, 1] * 15


def test_smoothing_is_an_unbiased_moving_average():
    assert smoothed([1, 0, 0], 0.5).tolist() == pytest.approx([1, 0.5 / 1.5, 0.25 / 1.75])
    assert smoothed([3, 1, 2], 0.0).tolist() == [3, 1, 2]
    holed = smoothed([1, nan, 0, inf], 0.5)  # what is not finite stays, and counts for nothing
    assert holed[[0, 2, 3]].tolist() == pytest.approx([1, 0.25 / 1.25, inf])
    assert isnan(holed[1])
