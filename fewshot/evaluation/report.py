"""The report of a test."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from fewshot.algorithms import EpisodicModule
from fewshot.data import EpisodicDataModule
from fewshot.objectives import BY_METRIC


class Report(Callback):
    """Prints the result of a test as a table and writes it to ``test.json`` beside the logs."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports."""
        if not trainer.is_global_zero:
            return
        report = self.report(trainer)
        console = Console()
        console.print(self._table(report))
        if trainer.log_dir:
            path = Path(trainer.log_dir, "test.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report, indent=2) + "\n")
            console.print(f"Report: {path}", soft_wrap=True)

    @staticmethod
    def report(trainer: Trainer) -> dict[str, Any]:
        """Everything that a figure needs to be quoted: accuracies are 0 to 1, and go by ``metric``'s name."""
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
        return {
            "algorithm": type(module).__name__,
            "metric": metric,
            metric: summary.mean,
            "std": summary.std,
            "ci95": summary.ci95,
            **{name: value.item() for name, value in logged.items()},
            **data.describe(),
            **module.describe(),
            "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        }

    @staticmethod
    def _table(report: dict[str, Any]) -> Table:
        metric, show = report["metric"], BY_METRIC[report["metric"]].show
        ways = f"{report['ways']}-way " if "ways" in report else ""
        title = f"{report['algorithm']}, {ways}{report['shots']}-shot, split {report['split']}"
        table = Table(title=title, show_header=False)
        table.add_column()
        table.add_column(overflow="fold")
        table.add_row(metric, show(report[metric], report["ci95"]), style="bold")
        table.add_row("standard deviation", show(report["std"]))
        if f"{metric}_before" in report:
            table.add_row("before adaptation", show(report[f"{metric}_before"]))
        table.add_row("loss", f"{report['loss']:.4f}")
        table.add_row(
            "episodes", f"{report['episodes']} with {report['queries']} queries{' per class' if ways else ''}"
        )
        table.add_row("adaptation steps", str(report.get("adaptation_steps") or "none"))
        table.add_row("batch norm", report.get("batch_norm", "none"))
        table.add_row("checkpoint", report["checkpoint"] or "none: untrained weights")
        return table
