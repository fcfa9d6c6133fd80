"""What several tests use."""

import io
import json
import threading
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw
from pytorch_lightning import Trainer
from torch import Tensor

from fewshot import algorithms
from fewshot.algorithms import AdaptingModule, EpisodicModule, MetricModule
from fewshot.data import ImageEpisodes, ImageStore
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4, Embedding

REPOSITORY = Path(__file__).parent.parent

TINY = [  # makes any config run in a second or two
    "--trainer.max_steps=2",
    "--data.meta_batch_size=2",
    "--data.val_episodes=4",
    "--data.test_episodes=4",
    "--trainer.enable_progress_bar=false",
]
SMALL_NETWORK = ["--model.network.channels=4"]
"""For the configs of Conv4."""

COMPARING: list[type[MetricModule]] = [
    learner
    for name, learner in vars(algorithms).items()
    if name.endswith("Module") and issubclass(learner, MetricModule) and learner is not MetricModule
]
"""Every learner that compares."""

PLACES = ["--model.network.running_statistics=true", "--model.network.cells=2"]
"""The Conv4 that suits all of them."""

SHAPES = {"disc": 60, "square": 4, "triangle": 3}
"""What is in the pictures that the classifier is tested on, by its number of sides."""
SHOTS = 4
"""Labelled pictures of each shape."""


def png(pixels: np.ndarray) -> bytes:
    """A one-bit PNG file of a boolean picture, true for paper."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def draw_shape(shape: str, seed: int) -> Image.Image:
    """A small shape in some colour, turned and put somewhere, on noise: not all of them are told apart."""
    rng = np.random.default_rng([SHAPES[shape], seed])
    picture = Image.fromarray(rng.integers(60, 196, (64, 64, 3), dtype=np.uint8))
    x, y, radius = rng.integers([20, 20, 8], [44, 44, 14]).tolist()
    turn, colour = int(rng.integers(360)), tuple(rng.integers(256, size=3).tolist())
    ImageDraw.Draw(picture).regular_polygon((x, y, radius), SHAPES[shape], turn, colour)
    return picture


def no_thread_stays(before: set[threading.Thread]) -> None:
    """Fails if a thread goes on that was not there before, such as one of a progress bar."""
    for thread in {*threading.enumerate()} - before:
        thread.join(5)
        assert not thread.is_alive()


def store(classes: int = 9, images: int = 6, channels: int = 1, size: int = 16) -> ImageStore:
    """Random images."""
    pixels = torch.randint(256, (classes * images, channels, size, size), dtype=torch.uint8)
    return ImageStore.of_rows(pixels, [images] * classes, [f"letters/{number}" for number in range(classes)])


def image_tasks(tasks: int = 2, ways: int = 3, shots: int = 2, queries: int = 3, classes: int = 9) -> Episode:
    """Tasks of random images in float64, 0 to 1."""
    images = store(classes, shots + queries, size=17)  # which Conv4 halves to 2 x 2 places
    episodes = ImageEpisodes(images, split="train", ways=ways, shots=shots, queries=queries, length=tasks)
    support, query, chosen = episodes.__getitems__(range(tasks))
    return Episode(*(Examples(part.x.double() / 255, part.y) for part in (support, query)), chosen)


def conv4(batch_norm: str = "transductive", **options: object) -> Conv4:
    """A small Conv4 for a mode of batch norm, as if it had been trained: its ReLUs are nowhere at their kink."""
    network = Conv4(channels=4, running_statistics=batch_norm == "running", **options)
    for norm in network.norms:
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
        if batch_norm == "running":
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return network


def outer_gradients(module: EpisodicModule, episode: Episode) -> dict[str, Tensor | None]:
    """The gradient of the outer loss in every parameter; ``None`` in a frozen one."""
    module.zero_grad()
    module.outer_loss(episode).loss.backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal but for the rounding of float64 after some thousand operations, relative to the largest entry."""
    rounding = 1e-10
    torch.testing.assert_close(ours, theirs, rtol=rounding, atol=rounding * max(1e-3, theirs.abs().max().item()))


def agree(ours: AdaptingModule, theirs: AdaptingModule, episode: Episode) -> None:
    """Two learners have the same outer gradients, and the same predictions before and after."""
    expected = outer_gradients(theirs, episode)
    for name, gradient in outer_gradients(ours, episode).items():
        if expected[name] is None:
            assert gradient is None, name
        else:
            close(gradient, expected[name])
    for prediction, reference in zip(ours.predict(episode), theirs.predict(episode)):
        close(prediction, reference)


class Identity(Embedding):
    """Passes numbers through: the classifier on top is a linear model."""

    def __init__(self, out_features: int = 1) -> None:
        super().__init__()
        self.out_features = out_features

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x


def quiet_trainer(**options: object) -> Trainer:
    """Lightning's own, in float64, that writes nothing anywhere."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode")
    return Trainer(accelerator="cpu", precision="64-true", **dict.fromkeys(quiet, False), **options)


def shrink(configs: Path, to: Path) -> None:
    """Writes the configs of a folder, made to run in less than a second each."""
    for file in configs.glob("**/*.yaml"):
        config = yaml.safe_load(file.read_text())
        model = config["model"]["init_args"]
        model.pop("record", None)
        model |= {option: min(model[option], 5) for option in model if option.endswith("adaptation_steps")}
        network = model["network"] if isinstance(model["network"], dict) else {"class_path": model["network"]}
        small_network = {"channels": 4} if network["class_path"] == "Conv4" else {"widths": [4]}
        model["network"] = {**network, "init_args": {**network.get("init_args", {}), **small_network}}
        config["data"]["init_args"] |= {"meta_batch_size": 2, "val_episodes": 2}
        config["trainer"] |= {"enable_progress_bar": False, "val_check_interval": 1}
        for callback in config["trainer"].get("callbacks", []):
            callback["init_args"]["every_n_train_steps"] = 1
        small = to / file.relative_to(configs)
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_text(yaml.safe_dump(config))


def best(root: Path, run: str = "glyphs_maml") -> Path:
    """The best checkpoint of a run."""
    return root / "checkpoints" / run / "best.ckpt"


def last(root: Path) -> Path:
    """The last checkpoint of a run named mine."""
    return best(root, "mine").with_name("last.ckpt")


def state(root: Path) -> dict:
    """What is in it."""
    return torch.load(last(root), weights_only=True)


def tensors(nested: object, path: str = "") -> dict[str, Tensor]:
    """All tensors of a nested state, by their path."""
    if isinstance(nested, Tensor):
        return {path: nested}
    pairs = nested.items() if isinstance(nested, dict) else enumerate(nested) if isinstance(nested, list) else ()
    return {name: value for key, part in pairs for name, value in tensors(part, f"{path}/{key}").items()}


def same(one: dict, other: dict) -> None:
    """Weights, learned rates, optimiser and schedule, bit for bit."""
    for part in ("state_dict", "optimizer_states"):
        ours, theirs = tensors(one[part]), tensors(other[part])
        assert len(ours) == len(theirs)
        assert ours or part == "optimizer_states"  # plain SGD has none
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert one["global_step"] == other["global_step"]


def reports(root: Path) -> list[dict]:
    """What tests wrote, in the order of their names."""
    return [json.loads(file.read_text()) for file in sorted(root.glob("logs/*/test/*/test.json"))]


def tiny(config: Path) -> list[str]:
    """What makes a config run in a second or two, by what it says."""
    model = yaml.safe_load(config.read_text())["model"]
    network = model["init_args"]["network"]
    name = network if isinstance(network, str) else network["class_path"]
    small = {"Conv4": SMALL_NETWORK, "PretrainedEmbedding": ["--data.image_size=32"]}.get(name, [])
    unrecorded = ["--model.record=false"] if model["init_args"].get("record") else []
    return [*TINY, *small, *unrecorded]
