"""All tasks at once must be what one task after another is: to rounding, for every combination of options."""

import itertools

import learn2learn
import pytest
import torch
import torch.nn.functional as F
from helpers import REPOSITORY, TINY, agree, close, conv4, image_tasks, outer_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot.algorithms import MAMLModule
from fewshot.cli import main
from fewshot.data import SinusoidDataModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import MLP, Embedding
from fewshot.runs import run

LAST_LAYERS = ["features.convolutions.3", "head"]


def pair(network: Embedding | None = None, ways: int = 3, **options: object) -> tuple[MAMLModule, MAMLModule]:
    """The same learner twice, with the vectorised and with the sequential inner loop."""
    body = network or conv4()
    both = [
        MAMLModule(body, outputs=ways, inner_lr=0.3, inner_loop=name, **options).double()
        for name in ("vectorized", "sequential")
    ]
    both[1].load_state_dict(both[0].state_dict())
    for parameter in itertools.chain(*(module.inner_optimizer.parameters() for module in both)):
        parameter.data = torch.linspace(0.1, 0.5, parameter.numel()).view_as(parameter).double()  # each its own
    return both[0], both[1]


LEARN, ADAPT = ["none", "meta-sgd", "per-step"], ["all", "head", LAST_LAYERS]
BATCH_NORM, STEPS = ["transductive", "inductive", "running"], [1, 2, 5]

# Every two values of two of these options meet in one of the cases: a Latin square for each of two columns.
PAIRS = [
    (LEARN[i], ADAPT[j], BATCH_NORM[(i + j) % 3], STEPS[(i + 2 * j) % 3], first_order)
    for i, j, first_order in [(0, 0, True), *((i, j, i * j > 0) for i in range(3) for j in range(3))]
]


def test_every_pair_of_options_is_among_the_cases():
    columns = [LEARN, ADAPT, BATCH_NORM, STEPS, [False, True]]
    for one, other in itertools.combinations(range(len(columns)), 2):
        for values in itertools.product(columns[one], columns[other]):
            assert any((case[one], case[other]) == values for case in PAIRS), values


@pytest.mark.parametrize(("learn", "adapt", "batch_norm", "steps", "first_order"), PAIRS)
def test_both_loops_agree(learn, adapt, batch_norm, steps, first_order):
    options = {"learn_inner_lr": learn, "adapt": adapt, "first_order": first_order, "adaptation_steps": steps}
    agree(*pair(conv4(batch_norm), batch_norm=batch_norm, **options), image_tasks(tasks=3))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_both_loops_agree_on_whatever_is_drawn(data):
    def one_of(*options: object) -> object:
        return data.draw(st.sampled_from(options))

    ways, batch_norm = one_of(1, 2, 4), one_of(*BATCH_NORM)
    both = pair(
        conv4(batch_norm, downsample=one_of("stride", "pool")),
        ways,
        learn_inner_lr=one_of(*LEARN),
        adapt=one_of(*ADAPT, ["features.norms", "features.convolutions.0"], ["head.bias"]),
        batch_norm=batch_norm,
        first_order=one_of(True, False),
        adaptation_steps=one_of(1, 2, 3),
        test_adaptation_steps=one_of(0, 1, 4),
        task_chunk_size=one_of(None, 1, 2),
    )
    agree(*both, image_tasks(one_of(1, 2, 5), ways, one_of(1, 2), one_of(1, 3)))


class PlainNetwork(Embedding):
    """Torch's own layers: nothing in it knows of tasks."""

    out_features = 6

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 6), nn.LayerNorm(6)
        )

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return self.layers(x)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4), nn.Identity()])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_network_of_torchs_own_layers_agrees(norm, steps):
    agree(*pair(PlainNetwork(norm), adaptation_steps=steps), image_tasks())


def test_running_statistics_of_torchs_own_layers_agree():
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    agree(*pair(PlainNetwork(norm), batch_norm="running", adaptation_steps=2), image_tasks())


def test_a_regression_agrees():
    """Nothing in the loops asks for classes, channels or batch norm."""
    both = pair(MLP(widths=(8,)), ways=1, loss="mse", adaptation_steps=3)
    episode = SinusoidDataModule().dataset("train").__getitems__(range(2))
    agree(*both, Episode(*(Examples(part.x.double(), part.y.double()) for part in episode[:2])))


def test_learn2learns_loop_on_torchs_own_layers_gives_the_same_gradients():
    ours = MAMLModule(conv4(), outputs=3, inner_lr=0.3, adaptation_steps=2).double()
    convolutions = [
        [nn.Conv2d(1 if i == 0 else 4, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()]
        for i in range(4)
    ]
    layers = [layer for block in convolutions for layer in block]
    plain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double()
    order = [f"features.{kind}.{i}" for i in range(4) for kind in ("convolutions", "norms")]
    names = [name for part in [*order, "head"] for name in ours.network.state_dict() if name.startswith(part)]
    for parameter, name in zip(plain.parameters(), names, strict=True):
        parameter.data.copy_(ours.network.state_dict()[name])

    episode = image_tasks(tasks=3)
    learner = learn2learn.algorithms.MAML(plain, lr=0.3)
    for x, y, query_x, query_y in zip(*episode.support, *episode.query):
        clone = learner.clone()
        for _ in range(2):
            clone.adapt(F.cross_entropy(clone(x), y))
        (F.cross_entropy(clone(query_x), query_y) / 3).backward()
    gradients = outer_gradients(ours, episode)
    for parameter, name in zip(plain.parameters(), names):
        close(gradients[f"network.{name}"], parameter.grad)


def test_a_checkpoint_of_either_loop_runs_under_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = f"--config={REPOSITORY / 'configs' / 'sinusoid_maml.yaml'}"
    results = []
    for trained, tested in (("vectorized", "sequential"), ("sequential", "vectorized")):
        options = [f"--name={trained}", f"--model.inner_loop={trained}", "--model.record=false"]
        main(["fit", config, *TINY, *options])
        for inner_loop in (trained, tested):
            checkpoint = f"--ckpt_path=checkpoints/{trained}/last.ckpt"
            cli = run(["test", checkpoint, f"--model.inner_loop={inner_loop}", f"--name={trained}-{inner_loop}"])
            results.append(cli.trainer.callback_metrics["test/loss"].item())
    # float32: rounding to 1e-7 grows by a factor of some ten in a few steps.
    assert results == pytest.approx([results[0]] * 4, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("adapt", ADAPT)
def test_a_gpu_gives_the_gradients_of_the_cpu(adapt):
    module, _ = pair(adapt=adapt, adaptation_steps=2)
    episode = image_tasks()
    expected = outer_gradients(module, episode)
    module.cuda()
    on_gpu = Episode(*(Examples(part.x.cuda(), part.y.cuda()) for part in episode[:2]))
    for name, gradient in outer_gradients(module, on_gpu).items():
        close(gradient.cpu(), expected[name])
