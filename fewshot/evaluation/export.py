"""``fewshot export``: a checkpoint to give away."""

from pathlib import Path

from fewshot.checkpoints import KEY, SafeCheckpointIO, read_checkpoint
from fewshot.errors import FewShotError
from fewshot.terminal import console


def export(ckpt_path: Path, to: Path) -> None:
    """Writes a small copy of a checkpoint to be tested, swept and compared, but not trained on.

    It holds weights, learned rates, options and the names of the training classes; what the optimiser and the Trainer
    remember is left out, as is what the learner needs in training alone.

    Args:
        ckpt_path: A checkpoint that ``fewshot fit`` wrote.
        to: The file to write; its folder is made.

    Raises:
        FewShotError: If there is no such checkpoint, or the file exists.
    """
    checkpoint = read_checkpoint(ckpt_path)
    if to.is_dir():
        raise FewShotError(f"{to} is a folder: name a file in it")
    if to.exists():
        raise FewShotError(f"{to} exists: give another name")
    data = checkpoint[KEY]["config"]["data"]
    for place in ("root", "cache_dir", "split_dir"):  # of this machine
        data["init_args"].pop(place, None)
    for name in checkpoint["training_only"]:
        checkpoint["state_dict"].pop(name, None)
    data_state = data["class_path"].rpartition(".")[2]
    kept = {KEY, "algorithm", "state_dict", data_state, "epoch", "global_step", "pytorch-lightning_version"}
    SafeCheckpointIO().save_checkpoint({key: value for key, value in checkpoint.items() if key in kept}, to)
    console().print(f"{to}: {to.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
