"""On a GPU: no outer step waits for the device. Skipped where there is none; ``make gpu`` runs what needs one."""

import pytest
import torch

from fewshot.algorithms import EpisodicModule, IMAMLModule, MAMLModule, ProtoNetModule, ReptileModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4

LEARNERS = {
    "maml": lambda: MAMLModule(Conv4(), outputs=3, learn_inner_lr="per-step"),
    "recorded": lambda: MAMLModule(Conv4(), outputs=3, record=True),
    "anil": lambda: MAMLModule(Conv4(), outputs=3, adapt="head"),
    "reptile": lambda: ReptileModule(Conv4(), outputs=3, adaptation_steps=2),
    "imaml": lambda: IMAMLModule(Conv4(), outputs=3, adaptation_steps=2),
    "protonet": lambda: ProtoNetModule(Conv4(running_statistics=True)),
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("name", LEARNERS)
def test_no_outer_step_waits_for_the_device(name, bf16):
    module: EpisodicModule = LEARNERS[name]().cuda()
    labels = torch.arange(3, device="cuda").repeat(2, 1)
    episode = Episode(*(Examples(torch.rand(2, 3, 1, 28, 28, device="cuda"), labels) for _ in range(2)))
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = module.outer_loss(episode).loss
        loss.backward()
        optimizer.step()

    step()  # the first one may: it records, and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
