"""What the evaluations share that ask a learner more than a Trainer's test does."""

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from fewshot.algorithms import EpisodicModule
from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.errors import blaming
from fewshot.evaluation.measure import Accelerator
from fewshot.quiet import quietly

Learner = TypeVar("Learner", bound=EpisodicModule)


def restored(module: Learner, checkpoint: dict[str, Any]) -> Learner:
    """A checkpoint's learner with what it has learned, in evaluation mode.

    Args:
        module: The learner with untrained weights, as :func:`load` makes it.
        checkpoint: What :func:`fewshot.checkpoints.read_checkpoint` reads.

    Raises:
        FewShotError: If the checkpoint is of another learner or another network.
    """
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()


def batches_for_test(data: EpisodicDataModule, device: torch.device) -> Iterator[Episode]:
    """The test episodes on a device, as a Trainer would give them to the learner.

    Raises:
        FewShotError: If they cannot be drawn.
    """
    data.prepare_data()
    data.setup("test")
    for batch in data.test_dataloader():
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)


def device_of(accelerator: Accelerator) -> torch.device:
    """The device that a Trainer with this accelerator would use.

    Raises:
        FewShotError: If there is none.
    """
    with blaming("--accelerator"), quietly():
        return Fabric(accelerator=accelerator, devices=1).device
