"""The report of a test."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.table import Table

from fewshot.algorithms import EpisodicModule
from fewshot.data import EpisodicDataModule
from fewshot.evaluation.fingerprint import fingerprint, versions
from fewshot.files import finite, write_json
from fewshot.objectives import BY_METRIC, NOT_FINITE
from fewshot.shipped import checkpoint_name
from fewshot.terminal import console

KINDS = {True: "transductive", False: "inductive"}
"""What a report's ``transductive`` says: whether the queries of a task are judged together, or each on its own."""


class Report(Callback):
    """Writes the result of a test to ``test.json`` beside the logs and prints it as a table."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports."""
        if not trainer.is_global_zero:
            return
        report = self.report(trainer)
        path = Path(trainer.log_dir, "test.json") if trainer.log_dir else None
        try:  # written first, printed whatever happens: a failure of one loses nothing of the other
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, report)
        finally:
            console().print(self._table(report))
        if path:
            console().print(f"Report: {path}", soft_wrap=True)

    @staticmethod
    def report(trainer: Trainer) -> dict[str, Any]:
        """Everything that a figure needs to be quoted: accuracies are 0 to 1, and go by ``metric``'s name.

        ``None`` is a number that is not finite; of ``std`` and ``ci95``, also that of one episode.
        """
        module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(module, EpisodicModule)
        assert isinstance(data, EpisodicDataModule)
        summary, metric = module.summary, module.objective.metric
        assert summary is not None
        others = ("loss", "loss_before", f"{metric}_before")
        logged = {
            name: trainer.callback_metrics[f"test/{name}"]
            for name in others
            if f"test/{name}" in trainer.callback_metrics
        }
        report = {
            "algorithm": type(module).__name__,
            "metric": metric,
            metric: summary.mean,
            "std": summary.std,
            "ci95": summary.ci95,
            **{name: value.item() for name, value in logged.items()},
            **data.describe(),
            "episodes": summary.episodes,  # those that were evaluated, which --trainer.limit_test_batches limits
            "transductive": module.transductive,
            **module.describe(),
            "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
            "precision": str(trainer.precision),
            "fingerprint": fingerprint(module, data, summary.episodes, str(trainer.precision)),
            "versions": versions(),
        }
        return finite(report)

    @staticmethod
    def _table(report: dict[str, Any]) -> Table:
        metric, show = report["metric"], BY_METRIC[report["metric"]].show
        ways = f"{report['ways']}-way " if "ways" in report else ""
        title = f"{report['algorithm']}, {ways}{report['shots']}-shot, split {report['split']}"
        table = Table(title=title, show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        table.add_row(metric, show(report[metric], report["ci95"]), style="bold")
        if report["std"] is not None:
            table.add_row("standard deviation", show(report["std"]))
        if f"{metric}_before" in report:
            table.add_row("before adaptation", show(report[f"{metric}_before"]))
        table.add_row("loss", NOT_FINITE if report["loss"] is None else f"{report['loss']:.4f}")
        queries = f"{report['queries']} {'query' if report['queries'] == 1 else 'queries'}"
        table.add_row("episodes", f"{report['episodes']} with {queries}{' per class' if ways else ''}")
        if (together := report["transductive"]) is not None:
            table.add_row("queries", f"{'together' if together else 'each on its own'} ({KINDS[together]})")
        if "adaptation_steps" in report:
            table.add_row("adaptation steps", str(report["adaptation_steps"] or "none"))
        if "batch_norm" in report:
            table.add_row("batch norm", report["batch_norm"])
        if "test_refinement_steps" in report:
            table.add_row("prototypes", f"refined by the queries in {report['test_refinement_steps']} steps")
        if "test_shift" in report:
            table.add_row("embeddings", f"means over shifts by up to {report['test_shift']} pixels")
        checkpoint = report["checkpoint"]
        table.add_row("checkpoint", "none: untrained weights" if checkpoint is None else checkpoint_name(checkpoint))
        return table
