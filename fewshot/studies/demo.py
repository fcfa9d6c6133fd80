"""``fewshot demo``: trains and tests MAML and a prototypical network on the built-in glyphs, and draws their curves."""

from pathlib import Path

from rich.table import Table

from fewshot.evaluation import Report, read_curve
from fewshot.evaluation.measure import label
from fewshot.objectives import CLASSIFICATION
from fewshot.plots import curves_figure, save
from fewshot.runs import run
from fewshot.studies.driver import config_of, train
from fewshot.terminal import console

ALGORITHMS = {"MAML": "glyphs_maml", "ProtoNet": "glyphs_protonet"}
SHOTS = (1, 5)


def demo(
    folder: Path = Path("demo"), configs: Path | None = None, max_steps: int | None = None, episodes: int = 600
) -> None:
    """Trains both algorithms, meta-tests them at K = 1 and K = 5, and shows a table and a picture.

    Interrupted, it goes on where it was; what is trained is not trained again.

    Args:
        folder: Where checkpoints, logs and the picture go.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps to train for; those of the config files if not given.
        episodes: Test episodes.
    """
    place = ["--trainer.default_root_dir", str(folder)]
    count = ["--data.test_episodes", str(episodes)]
    columns = (f"accuracy at K = {shots}" for shots in SHOTS)
    table = Table("algorithm", *columns, title=f"5-way glyphs, {episodes} episodes")
    curves = {}
    for algorithm, config in ALGORITHMS.items():
        train(config, config_of(config, configs), {}, folder, max_steps)
        curves[algorithm] = read_curve(folder / "logs" / config, "val/accuracy")
        checkpoint = ["--ckpt_path", str(folder / "checkpoints" / config / "best.ckpt")]
        cells = []
        for shots in SHOTS:
            test = run(["test", *checkpoint, "--data.test_shots", str(shots), *place, *count])
            report = Report.report(test.trainer)
            cells.append(CLASSIFICATION.show(report["accuracy"], report["ci95"]))
        table.add_row(label(algorithm, report["transductive"]), *cells)
    picture = folder / "curves.png"
    save(curves_figure(curves, "validation accuracy", percent=True), picture)
    console().print(table)
    console().print(f"Curves: {picture}", soft_wrap=True)
