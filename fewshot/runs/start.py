"""Where the processes of a training begin."""

from pytorch_lightning import Callback, LightningModule, Trainer

from fewshot.errors import FewShotError


class SameStart(Callback):
    """Refuses a training whose processes begin at different outer steps, which would wait for one another for ever.

    Args:
        steps: The outer steps of the checkpoint that this process found, 0 if it found none.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compares, before anything is restored.

        Raises:
            FewShotError: In all processes, if they differ.
        """
        first = trainer.strategy.broadcast(self.steps)
        if not trainer.strategy.reduce_boolean_decision(self.steps == first):
            raise FewShotError(
                f"the first process begins after {first} outer steps, and others after another number: all machines "
                "must find the same checkpoint, on a file system that they share"
            )
