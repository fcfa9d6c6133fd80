"""``fewshot demo``: trains and tests MAML and a prototypical network on glyphs, and draws what came of it."""

from pathlib import Path

from rich.table import Table

from fewshot.evaluation import Report, read_curve
from fewshot.evaluation.measure import kinds_note, label
from fewshot.evaluation.without_trainer import batches_for_test
from fewshot.objectives import CLASSIFICATION
from fewshot.plots import save
from fewshot.runs import FewShotCLI, run
from fewshot.studies.demo_figure import demo_figure
from fewshot.studies.driver import config_of, train
from fewshot.terminal import console

ALGORITHMS = {"MAML": "glyphs_maml", "ProtoNet": "glyphs_protonet"}
SHOTS = (1, 5)
TITLE = "Glyphs, 5-way 1-shot: told one example of each of five characters, which of them is it?"


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
    if (folder / "checkpoints").exists():
        print(f"Goes on with what is in {folder}/; without that folder, it begins afresh.")
    else:
        print(f"Begins afresh in {folder}/: about two minutes on two idle cores.")
    columns = (f"accuracy at K = {shots}" for shots in SHOTS)
    table = Table("algorithm", *columns, title=f"5-way glyphs, {episodes} episodes; chance is 20 %")
    curves, kinds, tests = {}, [], {}
    for algorithm, config in ALGORITHMS.items():
        train(config, config_of(config, configs), {}, folder, max_steps)
        cells = []
        for shots in SHOTS:
            tests[algorithm, shots] = test = _test(folder, config, shots, episodes)
            report = Report.report(test.trainer)
            cells.append(CLASSIFICATION.show(report["accuracy"], report["ci95"]))
        kinds.append(report["transductive"])
        name = label(algorithm, report["transductive"])
        table.add_row(name, *cells)
        curves[name] = read_curve(folder / "logs" / config, "val/accuracy")
    picture = folder / "demo.png"
    shown = tests["MAML", 1]
    episode = next(batches_for_test(shown.datamodule, shown.model.device))
    save(demo_figure(curves, episode, shown.model.predict(episode), TITLE), picture)
    console().print(table)
    console().print(kinds_note(kinds))
    console().print(f"Picture: {picture}", soft_wrap=True)


def _test(folder: Path, config: str, shots: int, episodes: int) -> FewShotCLI:
    """Tests a run's best state."""
    checkpoint = folder / "checkpoints" / config / "best.ckpt"
    options = {"data.test_shots": shots, "data.test_episodes": episodes, "trainer.default_root_dir": folder}
    return run(["test", f"--ckpt_path={checkpoint}", *(f"--{option}={value}" for option, value in options.items())])
