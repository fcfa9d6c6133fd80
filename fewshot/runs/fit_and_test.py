"""``fewshot fit`` and ``fewshot test``: LightningCLI."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only

import fewshot
from fewshot import signals
from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import SafeCheckpointIO
from fewshot.data import EpisodicDataModule
from fewshot.errors import FewShotError, blaming, gist
from fewshot.evaluation import Report
from fewshot.fast.allocator import keep_freed_memory
from fewshot.networks import without_weights
from fewshot.parser import Parser, link
from fewshot.quiet import hide_hints
from fewshot.runs.arguments import add_options, arrange, listing
from fewshot.runs.callbacks import EpisodeFigure, LearnedRates, Log
from fewshot.runs.finite import StopWhereNotFinite
from fewshot.runs.folder import claimed
from fewshot.runs.intervals import set_intervals
from fewshot.runs.keeping import BEST, LAST, BestCheckpoint, LastCheckpoint
from fewshot.runs.options import SaveOptions
from fewshot.runs.outcome import how_to_go_on, kept, nearby, next_commands
from fewshot.runs.progress import Introduction, ProgressBar, ProgressLines, on_a_terminal
from fewshot.runs.refused import remove_empty, while_restoring
from fewshot.runs.resuming import Begun
from fewshot.runs.start import SameStart
from fewshot.runs.words import checkpoints_of, found, name_of, value_of

DOES = {"fit": "Trains a learner.", "test": "Tests a trained learner."}
AT_LEAST = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0, "log_every_n_steps": 0}
"""Of those options of the Trainer that it does not check."""

for _option in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"):
    # Of Lightning's Union[int, float], typing may hand out one that was made the other way round: 1 was read as 1.0.
    Trainer.__init__.__annotations__[_option] = int | float | None


class FewShotCLI(LightningCLI):
    """LightningCLI with named runs, and checkpoints that know their model and their data."""

    logger: TensorBoardLogger | None = None
    """The logger that is made where the user configures none."""

    best: BestCheckpoint | None = None
    """What keeps the run's best state, if it keeps any."""

    last: LastCheckpoint | None = None
    """What keeps its latest state, if it keeps any."""

    begun: Begun | None = None
    """The checkpoint that the run begins with, if there is one."""

    goes_on, done = False, False
    """Whether the run goes on with its own last checkpoint (``--ckpt_path last``), and whether that was its end."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The subcommands, and those arguments of the Trainer's methods that are no options."""
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "weights_only"},
            "test": {"model", "dataloaders", "datamodule", "weights_only", "verbose"},
        }

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        arrange(parser, subcommand, DOES[subcommand])
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the options of a run that are neither the Trainer's nor those of model or data."""
        add_options(parser)
        link(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the options; those of a checkpoint come first, so that what the user types wins."""
        self.words = [str(word) for word in (sys.argv[1:] if args is None else list(args))]
        listed = listing(self.words, {"model": EpisodicModule, "data": EpisodicDataModule})
        if listed is not None:
            print(listed)
            raise SystemExit(0)
        typed = found(self.words)
        path = value_of("--ckpt_path", typed)
        if path in (None, "last"):
            self.config = parser.parse_args(typed)
            config = self.config[self.config.subcommand]
            path = config.ckpt_path  # from a config file
            self.goes_on = path == "last"
            if self.goes_on:  # with the best one, if the run was killed before it could write the last one
                there = [checkpoints_of(config) / name for name in (LAST, BEST)]
                newest = next((file for file in there if file.exists()), None)
                if newest is None and self.config.subcommand == "test":
                    raise FewShotError(f"there is neither {there[0]} nor {there[1]}")
                path = config.ckpt_path = None if newest is None else str(newest)
            if path is None:
                return
            typed = [*typed, "--ckpt_path", path]
        self.begun = Begun(path, typed)
        if self.goes_on:
            self.begun.options["name"] = name_of(config)
        first = 1 + next(index for index, word in enumerate([*typed, "fit"]) if word in self.subcommands())
        self.config = parser.parse_args([*typed[:first], "--config", json.dumps(self.begun.options), *typed[first:]])
        theirs = self.begun.options["model"]["class_path"]
        ours = self.config[self.config.subcommand].model.class_path
        if theirs != ours:
            raise FewShotError(
                f"{path} holds {theirs}, not {ours}: leave out --model, or give it a config of its own kind"
            )

    def _parse_ckpt_path(self) -> None:
        """Keeps Lightning from letting the checkpoint's options overwrite the typed ones."""

    def before_instantiate_classes(self) -> None:
        """Names the run, and sees to it that a short one is validated, too."""
        config = self.config[self.subcommand]
        config.name = name_of(config)
        interval, steps = (value_of(f"--trainer.{name}", self.words) for name in ("val_check_interval", "max_steps"))
        configured = config.trainer.val_check_interval != self.trainer_defaults["val_check_interval"]
        set_intervals(config.trainer, chosen=interval is not None or (configured and steps is None))

    def instantiate_classes(self) -> None:
        """Makes model, data and Trainer; a backbone's weights are in the checkpoint, if the run begins with one."""
        with nullcontext() if self.begun is None else without_weights():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Makes the Trainer: what it keeps and shows, unless the user wants none of it."""
        config = self.config[self.subcommand]
        root, folder = Path(config.trainer.default_root_dir or "."), checkpoints_of(config)
        keeps = config.trainer.enable_checkpointing is not False and not config.trainer.fast_dev_run
        callbacks: list[Callback] = [EpisodeFigure(), LearnedRates(), Report()]
        if self.subcommand == "fit":
            callbacks += [Introduction(folder if keeps else None)]
            callbacks += [StopWhereNotFinite(), SameStart(self.begun.steps if self.begun else 0)]
        if self.subcommand == "fit" and keeps:
            if config.checkpoint_minutes < 0:
                raise FewShotError(f"--checkpoint_minutes must not be negative, got {config.checkpoint_minutes}")
            resumed = Path(self.begun.path) if self.begun else None
            self.best = BestCheckpoint(folder, self.model.objective, resumed)
            self.last = LastCheckpoint(folder, config.checkpoint_minutes)
            callbacks += [self.best, self.last]
        if config.trainer.enable_progress_bar is not False:
            callbacks.append(ProgressBar() if on_a_terminal() else ProgressLines())
            kwargs["enable_progress_bar"] = on_a_terminal()
        self.trainer_defaults["callbacks"] = callbacks
        if config.trainer.logger in (None, True):
            self.logger = Log(root / "logs", name=f"{config.name}/{self.subcommand}", default_hp_metric=False)
            kwargs["logger"] = self.logger
        plugins = self.config_init[self.subcommand].trainer.plugins or []
        kwargs["plugins"] = [SafeCheckpointIO(), *(plugins if isinstance(plugins, list) else [plugins])]
        for option, least in AT_LEAST.items():
            value = config.trainer[option]
            if value is not None and value < least:
                raise FewShotError(f"--trainer.{option} must be at least {least}, not {value}")
        with blaming("--trainer.max_time"):
            Timer(config.trainer.max_time)
        with blaming("--trainer"):
            return super().instantiate_trainer(**kwargs)

    def _set_seed(self) -> None:
        with blaming("--seed_everything"):
            super()._set_seed()

    def before_fit(self) -> None:
        """Tells what a resumed run does differently.

        Raises:
            FewShotError: If it has nothing to do.
        """
        config, begun = self.config.fit, self.begun
        if begun is None:
            return
        if not begun.trained:
            raise FewShotError(f"{begun.path} is exported: it can be tested, but its training cannot go on")
        steps = config.trainer.max_steps
        if 0 < steps <= begun.steps and self.goes_on:
            rank_zero_only(print)(f"{begun.path} has taken all {begun.steps} outer steps: there is nothing to do.")
            self.done = True
            return
        if 0 < steps <= begun.steps:
            raise FewShotError(
                f"{begun.path} has taken {begun.steps} outer steps already: set --trainer.max_steps, which counts them "
                f"from the beginning, to more than {steps}"
            )
        now = self._resolved(config)
        then = self.parser.parse_args(["fit", "--config", json.dumps(begun.complete(now))])  # with today's defaults
        begun.tell_differences(self._resolved(then.fit), now)

    def fit(self, **options: Any) -> None:
        """Trains, and says what was kept, even if the process is told to end."""
        if self.done:
            return
        config = self.config.fit
        claim: AbstractContextManager = nullcontext()
        if self.best is not None and self.trainer.is_global_zero:
            claim = claimed(checkpoints_of(config), self.begun, config.overwrite)
        try:
            with claim:
                self._start(self.trainer.fit, **options)
            if signals.asked():  # during the last outer step
                raise signals.Stopped(signals.asked())
        except signals.Stopped as stopped:
            self._tell(how_to_go_on(stopped, self.last.saved if self.last else 0, checkpoints_of(config), self.words))
            raise
        last = checkpoints_of(config) / LAST
        if self.best is not None and last.exists():
            best = self.best.file if self.best.best_model_score is not None else last
            self._tell(next_commands(self.model, self.trainer, best, self.words, self._resolved(config)))

    def _resolved(self, config: Any) -> dict[str, Any]:
        """The options of a training as JSON has them."""
        return json.loads(self._parser("fit").dump(config, format="json"))

    def _tell(self, what_next: str) -> None:
        folder = self.trainer.log_dir if self.trainer.logger else None
        logs = f"Logs: {nearby(folder)}\n" if folder and Path(folder).exists() else ""
        rank_zero_only(print)(f"{kept(self.best)}{logs}{what_next}")

    def test(self, **options: Any) -> None:
        """Tests without Lightning's own table: :class:`Report` prints a better one."""
        if options.get("ckpt_path") is None:
            rank_zero_info("Untrained weights are tested: --ckpt_path FILE tests trained ones.")
        self._start(self.trainer.test, verbose=False, **options)

    def _start(self, method: Callable[..., Any], **options: Any) -> None:
        """Runs a method of the Trainer; if that is refused before it begins, no empty log stays behind."""
        self.trainer.precision_plugin.convert_module(self.model)  # first: Lightning would round float64 as it restores
        try:
            method(**options)
        except BaseException as error:
            if self.logger is not None and not SaveOptions.began(self.logger):
                remove_empty(Path(self.logger.log_dir))
            if isinstance(error, Exception) and not isinstance(error, FewShotError) and while_restoring(error):
                raise FewShotError(f"{options.get('ckpt_path')} cannot be restored: {gist(error)}") from error
            raise


def prepare() -> None:
    """Sets the process up: no hints that a user can do nothing about, and freed memory stays at hand."""
    hide_hints()
    keep_freed_memory()


def run(args: list[str] | None = None) -> FewShotCLI:
    """Runs one command and returns what it used: trainer, model, data.

    Args:
        args: The words after ``fewshot``; those of the process if not given.

    Raises:
        FewShotError: If the user made a mistake.
    """
    prepare()
    with signals.stoppable():
        return FewShotCLI(
            EpisodicModule,
            EpisodicDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={"prog": "fewshot", "description": fewshot.__doc__},
            save_config_callback=SaveOptions,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                "check_val_every_n_epoch": None,  # count outer steps
                "val_check_interval": 500,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "inference_mode": False,  # MAML takes gradients while it is tested
            },
            args=args,
        )
