"""Checkpoints of earlier versions, in today's words."""

from typing import Any

CLASSES = {"PretrainedModule": "BaselineModule"}
OPTIONS = {"compile": "record", "strength": "proximal_weight", "test_strength": "test_proximal_weight"}
WEIGHTS = {"inner_rates.values.": "inner_optimizer.rates."}


def translate(checkpoint: dict[str, Any], record: dict[str, Any]) -> None:
    """Renames what 0.1 called otherwise, in place; what it did is done the same way now.

    Args:
        checkpoint: What torch loaded.
        record: What it says of its run: version, name and options.
    """
    if not record["version"].startswith("0.1."):
        return
    checkpoint["algorithm"] = CLASSES.get(checkpoint["algorithm"], checkpoint["algorithm"])
    model = record["config"]["model"]
    package, _, name = model["class_path"].rpartition(".")
    model["class_path"] = f"{package}.{CLASSES.get(name, name)}"
    options = {OPTIONS.get(option, option): value for option, value in model["init_args"].items()}
    model["init_args"] = {option: value for option, value in options.items() if value is not None}
    weights = checkpoint["state_dict"]
    for old, new in WEIGHTS.items():
        for name in [name for name in weights if name.startswith(old)]:
            weights[name.replace(old, new)] = weights.pop(name)
    head = weights.get("network.head.weight")
    record["outputs"] = None if head is None else len(head)
    if checkpoint.get("lr_schedulers") == []:  # a constant step size had no schedule
        checkpoint["lr_schedulers"] = [{"last_epoch": checkpoint["global_step"]}]
