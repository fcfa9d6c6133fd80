"""What is recorded is what would have run: the same numbers, for every option, and again when weights change."""

import pytest
import torch
from helpers import REPOSITORY, TINY, agree, close, image_tasks, outer_gradients
from torch import Tensor

from fewshot.algorithms import MAMLModule
from fewshot.episodes import Episode, Examples
from fewshot.fast.layers import BatchNorm, Conv2d
from fewshot.fast.recording import Recording
from fewshot.networks import Conv4, Embedding
from fewshot.runs import run


def test_a_function_runs_once_for_each_shape_type_and_variant():
    runs = []

    def scaled(parameters: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        runs.append(None)
        return [parameters[0] * inputs[0], parameters[0].sum()]

    recording, three = Recording(scaled), torch.tensor([3.0], requires_grad=True)
    for new, inputs, variant in [
        (True, torch.tensor([1.0, 2.0]), "a"),
        (False, torch.tensor([5.0, 7.0]), "a"),
        (True, torch.tensor([1.0, 2.0, 4.0]), "a"),
        (True, torch.tensor([1.0, 2.0]).double(), "a"),
        (True, torch.tensor([1.0, 2.0]), "b"),
        (False, torch.tensor([1.0, 2.0, 4.0]), "a"),
    ]:
        before = len(runs)
        product, total = recording([three], [inputs], variant)
        assert len(runs) - before == new
        assert torch.equal(product, 3 * inputs)
        assert (total, product.requires_grad) == (3, False)
    three.data.fill_(4.0)  # a replay sees new weights
    assert recording([three], [torch.tensor([1.0, 2.0])], "a")[0].tolist() == [4, 8]


class OneBlock(Embedding):
    """A block of Conv4, recorded in a quarter of the time."""

    out_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.convolution = Conv2d(1, 4, kernel_size=3, stride=2, padding=1)
        self.norm = BatchNorm(4, track_running_stats=False)

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return torch.relu(self.norm(self.convolution(x), support_size)).mean((2, 3))


@pytest.mark.parametrize(
    ("learn", "adapt", "batch_norm", "first_order"),
    [
        ("none", "all", "transductive", False),
        ("meta-sgd", "all", "inductive", True),
        ("per-step", ["features.convolution"], "transductive", False),
        ("per-step", "head", "inductive", False),
    ],
)
def test_what_is_recorded_is_what_would_have_run(learn, adapt, batch_norm, first_order):
    options = {"learn_inner_lr": learn, "adapt": adapt, "batch_norm": batch_norm, "first_order": first_order}
    options |= {"outputs": 3, "inner_lr": 0.3, "adaptation_steps": 2}
    run_anew = MAMLModule(OneBlock(), **options).double()
    recorded = MAMLModule(OneBlock(), record=True, **options).double()
    for tasks in (3, 3, 5):  # recorded, replayed, recorded anew
        episode = image_tasks(tasks)
        for parameter in run_anew.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)  # a replay must see new weights
        recorded.load_state_dict(run_anew.state_dict())
        expected = outer_gradients(run_anew, episode)
        for name, gradient in outer_gradients(recorded, episode).items():
            close(gradient, expected[name])
        for ours, theirs in zip(recorded.outer_loss(episode), run_anew.outer_loss(episode)):
            close(ours.detach(), theirs.detach())
    assert len(recorded.recording.programs) == 2


def test_frozen_weights_are_left_out():
    body = OneBlock().requires_grad_(False)
    run_anew, recorded = (
        MAMLModule(body, outputs=3, adapt=["head"], record=record).double() for record in (False, True)
    )
    recorded.load_state_dict(run_anew.state_dict())
    agree(recorded, run_anew, image_tasks())


def test_bf16_is_recorded_as_it_runs():
    run_anew, recorded = (
        MAMLModule(Conv4(channels=4), outputs=3, inner_lr=0.3, record=record) for record in (False, True)
    )
    recorded.load_state_dict(run_anew.state_dict())
    episode = Episode(*(Examples(part.x.float(), part.y) for part in image_tasks()[:2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = outer_gradients(recorded, episode), outer_gradients(run_anew, episode)
    for name, gradient in theirs.items():  # some operations are fused where they are not recorded: a rounding less
        assert (ours[name] - gradient).norm() < 2**-6 * gradient.norm()
    assert len(recorded.recording.programs) == 1


def test_chunks_and_recordings_from_the_command_line(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    config = f"--config={REPOSITORY / 'configs' / 'sinusoid_maml.yaml'}"
    losses = []
    for number, options in enumerate(
        ("record=false --model.task_chunk_size=all", "record=false --model.task_chunk_size=1", "record=true")
    ):
        cli = run(["fit", config, *TINY, f"--name=run-{number}", *f"--model.{options}".split()])
        losses.append(cli.trainer.callback_metrics["val/loss"].item())
    # float32: rounding to 1e-7 grows by a factor of some ten in a few steps.
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert fails("fit", config, *TINY, "--model.task_chunk_size=0") == "task_chunk_size must be at least 1, not 0"
    assert fails("fit", config, *TINY, "--model.record=true", "--model.inner_loop=sequential") == (
        "record needs inner_loop vectorized, not sequential: set --model.record false"
    )
