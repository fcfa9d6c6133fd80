"""All tasks at once must be what one task after another is: to rounding, for every combination of options."""

import itertools
import os
import weakref
from pathlib import Path

import learn2learn
import pytest
import torch
import torch.nn.functional as F
from conftest import REPOSITORY, TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot.algorithms import MAMLModule
from fewshot.cli import main, run
from fewshot.episodes import Episode, ImageEpisodes
from fewshot.errors import FewShotError
from fewshot.networks import Conv4, Embedding

ROUNDING = 1e-10  # of float64, relative to the largest entry, after some thousand operations


def episodes(tasks: int = 3, ways: int = 3, shots: int = 2, queries: int = 3) -> Episode:
    images = torch.randint(256, (ways + 5, shots + queries, 16, 16), dtype=torch.uint8)
    dataset = ImageEpisodes(images, split="train", ways=ways, shots=shots, queries=queries, length=tasks)
    support, query, _ = dataset.__getitems__(range(tasks))
    return Episode(*(part._replace(x=part.x.double() / 255) for part in (support, query)))


def pair(network: Embedding | None = None, ways: int = 3, **options: object) -> tuple[MAMLModule, MAMLModule]:
    """The same learner twice, with the vectorised and with the sequential inner loop."""
    body = network or Conv4(channels=4)
    both = [
        MAMLModule(body, outputs=ways, inner_lr=0.3, inner_loop=name, **options).double()
        for name in ("vectorized", "sequential")
    ]
    both[1].load_state_dict(both[0].state_dict())
    for parameter in itertools.chain(*(module.inner_rates.parameters() for module in both)):
        parameter.data = torch.linspace(0.1, 0.5, parameter.numel()).view_as(parameter).double()  # each its own
    return both[0], both[1]


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=ROUNDING, atol=ROUNDING * max(1e-3, theirs.abs().max().item()))


def outer_gradients(module: MAMLModule, episode: Episode) -> dict[str, Tensor]:
    module.zero_grad()
    module.outer_loss(episode)[0].backward()
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def agree(vectorized: MAMLModule, sequential: MAMLModule, episode: Episode) -> None:
    """Same outer gradients, same predictions before and after."""
    theirs = outer_gradients(sequential, episode)
    for name, gradient in outer_gradients(vectorized, episode).items():
        close(gradient, theirs[name])
    for ours, reference in zip(vectorized.evaluate(episode), sequential.evaluate(episode)):
        close(ours, reference)


GRID = list(
    itertools.product(
        ["none", "meta-sgd", "per-step"], ["all", "head"], ["transductive", "inductive"], [False, True], [1, 2, 5]
    )
)


@pytest.mark.parametrize(("learn", "adapt", "batch_norm", "first_order", "steps"), GRID)
def test_both_loops_agree(learn, adapt, batch_norm, first_order, steps):
    both = pair(
        learn_inner_lr=learn, adapt=adapt, batch_norm=batch_norm, first_order=first_order, adaptation_steps=steps
    )
    agree(*both, episodes())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_both_loops_agree_on_whatever_is_drawn(data):
    def one_of(*options: object) -> object:
        return data.draw(st.sampled_from(options))

    ways = one_of(1, 2, 4)
    both = pair(
        Conv4(channels=one_of(1, 3), downsample=one_of("stride", "pool")),
        ways,
        learn_inner_lr=one_of("none", "meta-sgd", "per-step"),
        adapt=one_of("all", "head"),
        batch_norm=one_of("transductive", "inductive"),
        first_order=one_of(True, False),
        adaptation_steps=one_of(1, 2, 3),
        test_adaptation_steps=one_of(0, 1, 4),
        task_chunk_size=one_of(None, 1, 2),
    )
    agree(*both, episodes(one_of(1, 2, 5), ways, one_of(1, 2), one_of(1, 3)))


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
    agree(*pair(PlainNetwork(norm), adaptation_steps=steps), episodes())


def test_learn2learns_loop_on_torchs_own_layers_gives_the_same_gradients():
    ours = MAMLModule(Conv4(channels=4), outputs=3, inner_lr=0.3, adaptation_steps=2).double()
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

    episode = episodes()
    learner = learn2learn.algorithms.MAML(plain, lr=0.3)
    for x, y, query_x, query_y in zip(*episode.support, *episode.query):
        clone = learner.clone()
        for _ in range(2):
            clone.adapt(F.cross_entropy(clone(x), y))
        (F.cross_entropy(clone(query_x), query_y) / 3).backward()
    gradients = outer_gradients(ours, episode)
    for parameter, name in zip(plain.parameters(), names):
        close(gradients[f"network.{name}"], parameter.grad)


@pytest.mark.parametrize("learn", ["none", "meta-sgd"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 7])
def test_chunks_of_tasks_give_the_gradients_of_the_whole(learn, chunk):
    whole, _ = pair(learn_inner_lr=learn)
    episode = episodes(tasks=5)
    expected, loss = outer_gradients(whole, episode), whole.outer_loss(episode)[0]
    whole.task_chunk_size = chunk
    for name, gradient in outer_gradients(whole, episode).items():
        close(gradient, expected[name])
    chunked, logits = whole.outer_loss(episode)
    close(chunked.detach(), loss.detach())
    close(logits.detach(), whole(episode).outputs.detach())


@pytest.mark.parametrize("learn", ["none", "meta-sgd", "per-step"])
@pytest.mark.parametrize(("adapt", "first_order"), [("all", False), ("all", True), ("head", False)])
def test_what_is_recorded_is_what_would_have_run(learn, adapt, first_order):
    options = {"learn_inner_lr": learn, "adapt": adapt, "first_order": first_order, "adaptation_steps": 2}
    eager, _ = pair(**options)
    compiled = MAMLModule(eager.network.features, outputs=3, inner_lr=0.3, compile=True, **options).double()
    compiled.load_state_dict(eager.state_dict())
    for tasks in (3, 3, 5):  # recorded, replayed, recorded anew
        episode = episodes(tasks)
        for parameter in eager.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)  # a replay must see new weights
        compiled.load_state_dict(eager.state_dict())
        expected = outer_gradients(eager, episode)
        for name, gradient in outer_gradients(compiled, episode).items():
            close(gradient, expected[name])
        close(compiled.outer_loss(episode)[1], eager.outer_loss(episode)[1].detach())
    assert len(compiled.recorded.programs) == 2


def saved_tensors(module: MAMLModule, episode: Episode, graph: str, steps: int) -> int:
    """How many tensors an adaptation holds on to, for a backward pass through it."""
    living: weakref.WeakSet[object] = weakref.WeakSet()

    class Box:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            living.add(self)

    with torch.autograd.graph.saved_tensors_hooks(Box, lambda box: box.tensor):
        *_, learners = module.inner_loop.adapt(episode.support, steps, graph=graph)
    assert learners is not None
    return len(living)


def test_only_the_second_order_keeps_a_graph_of_the_steps():
    module, _ = pair(learn_inner_lr="none")
    episode = episodes()
    assert saved_tensors(module, episode, "none", steps=5) == 0
    assert saved_tensors(module, episode, "first", steps=5) == saved_tensors(module, episode, "first", steps=1)
    assert saved_tensors(module, episode, "second", steps=5) > 4 * saved_tensors(module, episode, "second", steps=1)


def test_memory_is_flat_over_a_thousand_steps():
    module, _ = pair()
    episode = episodes()
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        module.outer_loss(episode)[0].backward()
        optimizer.step()

    def held() -> int:
        """Bytes of memory in use, of files apart."""
        resident, shared = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(100):
        step()
    before = held()
    for _ in range(1000):
        step()
    # Leaking a step's graph would cost 1000 times some 100 kB, leaking one 4 x 4 convolution weight per task 2 MB.
    assert held() - before < 1e6


def test_a_checkpoint_of_either_loop_runs_under_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = f"--config={REPOSITORY / 'configs' / 'glyphs_maml.yaml'}"
    results = []
    for trained, tested in (("vectorized", "sequential"), ("sequential", "vectorized")):
        main(["fit", config, *TINY, f"--name={trained}", f"--model.inner_loop={trained}"])
        for inner_loop in (trained, tested):
            checkpoint = f"--ckpt_path=checkpoints/{trained}/last.ckpt"
            cli = run(["test", checkpoint, f"--model.inner_loop={inner_loop}", f"--name={trained}-{inner_loop}"])
            results.append(cli.trainer.callback_metrics["test/loss"].item())
    # float32 and batch norm over five images: rounding to 1e-7 grows by a factor of some hundred in a few steps.
    assert results == pytest.approx([results[0]] * 4, rel=1e-4)


def test_chunks_and_recordings_from_the_command_line(tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    config = f"--config={REPOSITORY / 'configs' / 'glyphs_maml.yaml'}"
    losses = []
    for number, option in enumerate(("task_chunk_size=null", "task_chunk_size=1", "compile=true")):
        cli = run(["fit", config, *TINY, f"--name=run-{number}", f"--model.{option}"])
        losses.append(cli.trainer.callback_metrics["val/loss"].item())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    assert fails("fit", config, *TINY, "--model.task_chunk_size=0") == "task_chunk_size must be at least 1, not 0"
    assert fails("fit", config, *TINY, "--model.compile=true", "--model.inner_loop=sequential") == (
        "compile needs inner_loop vectorized, not sequential: set --model.compile false"
    )


def test_a_frozen_weight_is_refused():
    body = Conv4(channels=4)
    body.norms[0].bias.requires_grad_(False)
    with pytest.raises(FewShotError, match=r"norms\.0\.bias is frozen"):
        MAMLModule(body)


def test_dropout_differs_from_task_to_task():
    class Dropping(Embedding):
        out_features = 256

        def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
            return F.dropout(x.flatten(1), 0.5, training=True)

    module, _ = pair(Dropping())
    loop, episode = module.inner_loop, episodes(tasks=2)
    same = Episode(*(part._replace(x=part.x[:1].expand_as(part.x)) for part in episode[:2]))
    (learners,) = loop.adapt(same.support, 0, graph="none")
    first, second = learners(same.query.x)
    assert not torch.equal(first, second)


def test_bf16_is_recorded_as_it_runs():
    options = {"outputs": 3, "inner_lr": 0.3}
    eager = MAMLModule(Conv4(channels=4), **options)
    compiled = MAMLModule(eager.network.features, compile=True, **options)
    compiled.load_state_dict(eager.state_dict())
    episode = Episode(*(part._replace(x=part.x.float()) for part in episodes()[:2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = outer_gradients(compiled, episode), outer_gradients(eager, episode)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(compiled.recorded.programs) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("adapt", ["all", "head"])
def test_a_gpu_gives_the_gradients_of_the_cpu(adapt):
    module, _ = pair(adapt=adapt, adaptation_steps=2)
    episode = episodes()
    expected = outer_gradients(module, episode)
    module.cuda()
    on_gpu = Episode(*(type(part)(part.x.cuda(), part.y.cuda()) for part in episode[:2]))
    for name, gradient in outer_gradients(module, on_gpu).items():
        close(gradient.cpu(), expected[name])


def test_a_learner_without_batch_norm_needs_no_images():
    """Regression, as on sinusoids: nothing in the loop asks for classes or channels."""

    class Numbers(Embedding):
        out_features = 8

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 8)

        def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
            return torch.tanh(self.layer(x))

    module, reference = pair(Numbers(), ways=1, adaptation_steps=3)
    x = torch.linspace(-1, 1, 20, dtype=torch.float64).view(2, 10, 1)
    predictions = []
    for loop in (module.inner_loop, reference.inner_loop):
        loop.loss = F.mse_loss
        *_, learners = loop.adapt(type(episodes().support)(x, x.sin()), 3, graph="second")
        predictions.append(learners(x))
    close(*predictions)
