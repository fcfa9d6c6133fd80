"""Training curves, read back from TensorBoard's logs."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.errors import FewShotError


def read_curve(log_dir: str | Path, tag: str) -> tuple[list[int], list[float]]:
    """Reads one logged value over outer steps.

    Args:
        log_dir: Folder of one run's event files.
        tag: Name of the value, such as ``val/accuracy``.

    Returns:
        The outer steps, and the value at each.

    Raises:
        FewShotError: If the value was never logged there.
    """
    events = EventAccumulator(str(log_dir)).Reload()
    if tag not in events.Tags()["scalars"]:
        raise FewShotError(f"{log_dir} has no log of {tag}")
    scalars = events.Scalars(tag)
    return [scalar.step for scalar in scalars], [scalar.value for scalar in scalars]
