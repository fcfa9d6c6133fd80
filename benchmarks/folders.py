"""What many pictures in folders need: ``python -m benchmarks.folders``, some two minutes on two cores.

Generates pictures in uneven classes; then, each in a process of its own: decodes them into an empty cache, and starts
again from it and trains. Prints seconds, peaks of memory, and how long it takes to draw a meta-batch.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from jsonargparse import auto_cli
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.worker import peak_mb

STEPS = 20
TRAINING = ["fit", "--config=folders_protonet", "--trainer.enable_progress_bar=false", f"--trainer.max_steps={STEPS}",
            "--trainer.accelerator=cpu", f"--trainer.val_check_interval={STEPS}", "--data.val_episodes=2",
            "--data.shots=1", "--data.queries=2", "--model.network.downsample=stride"]  # fmt: skip


def generate(root: Path, pictures: int, classes: int, size: int = 84) -> None:
    """Writes JPEG files of colourful noise: the k-th class has some k times as many as the first."""
    rng = np.random.default_rng(0)
    shares = np.arange(1, classes + 1) + classes / 4
    counts = np.round(pictures * shares / shares.sum()).astype(int)
    counts[-1] += pictures - counts.sum()
    for name, count in track(list(enumerate(counts)), "Generating pictures"):
        folder = root / f"class{name:03}"
        folder.mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8))
            coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def load(root: str, cache: str) -> dict[str, float]:
    """Lists, loads and checks all images, and draws meta-batches of four 5-way 1-shot 15-query tasks."""
    from fewshot.data import FolderDataModule

    idle = peak_mb()
    data = FolderDataModule(root=root, cache_dir=cache, ways=5, shots=1, queries=15, meta_batch_size=4)
    cpu = time.process_time()
    loaded = timed(data.prepare_data) + timed(partial(data.setup, "fit"))
    cpu, peak = time.process_time() - cpu, peak_mb()
    tasks = data.dataset("train", length=400)
    drawn = [timed(partial(tasks.__getitems__, range(first, first + 4))) for first in range(0, 400, 4)]
    return {
        "s to load": loaded,
        "s of a core for it": cpu,
        "MB before": idle,
        "MB when loaded": peak,
        "ms for a meta-batch": 1e3 * median(drawn[50:]),
        "ms for the first ones": 1e3 * median(drawn[:10]),
    }


def train(root: str, cache: str) -> dict[str, float]:
    """Takes outer steps of 5-way 1-shot with two queries and a strided Conv4, by the command line."""
    from fewshot.cli import main as command

    idle = peak_mb()
    with tempfile.TemporaryDirectory() as place:
        place_it = [f"--data.root={root}", f"--data.cache_dir={cache}", f"--trainer.default_root_dir={place}"]
        seconds = timed(lambda: command([*TRAINING, *place_it]))
    return {f"s for {STEPS} outer steps and a validation": seconds, "MB before": idle, "MB at most": peak_mb()}


def in_a_process(work: str, *places: Path) -> dict[str, float]:
    """What a function of this file measures in a process that does nothing else."""
    code = f"import json; from benchmarks import folders; print(json.dumps(folders.{work}(*{[*map(str, places)]})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(pictures: int = 60_000, classes: int = 100, folder: Path | None = None) -> None:
    """Measures.

    Args:
        pictures: How many are generated.
        classes: In how many classes.
        folder: Where; a temporary one if not given.
    """
    console = Console()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root, cache = Path(place, "pictures"), Path(place, "cache")
        console.print(f"{pictures} generated in {timed(lambda: generate(root, pictures, classes)):.1f} s")
        console.print("first start", in_a_process("load", root, cache))
        console.print("second start", in_a_process("load", root, cache))
        console.print("training", in_a_process("train", root, cache))
        cache_file = next(cache.iterdir())
        cache_file.unlink()
        console.print("decoding and training", in_a_process("train", root, cache))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
