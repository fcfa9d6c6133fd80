"""What the evaluations share that ask a learner more than a Trainer's test does."""

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric

from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.errors import blaming
from fewshot.evaluation.measure import Accelerator
from fewshot.quiet import quietly


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
