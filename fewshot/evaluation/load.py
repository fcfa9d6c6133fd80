"""Trained learners for use from Python."""

from pathlib import Path

from pytorch_lightning.cli import LightningArgumentParser

from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.data import EpisodicDataModule


def load_module(path: str | Path) -> EpisodicModule:
    """Makes the learner of a checkpoint anew, with its weights and learned rates, in evaluation mode on the CPU.

    Args:
        path: A checkpoint that ``fewshot fit`` wrote.

    Raises:
        FewShotError: If it is none.
    """
    checkpoint = read_checkpoint(path)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(EpisodicModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(EpisodicDataModule, "data", subclass_mode=True)
    parser.link_arguments("data.init_args.ways", "model.init_args.ways")
    module = parser.instantiate_classes(parser.parse_object(checkpoint[KEY]["config"])).model
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()
