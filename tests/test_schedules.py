"""The outer step size over a training: against closed forms, resumed, and by the clock."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import image_tasks, quiet_trainer
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, Timer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR
from torch.utils.data import DataLoader

from fewshot.algorithms import ProtoNetModule
from fewshot.errors import FewShotError
from fewshot.networks import Conv4
from fewshot.schedules import FACTORS, Schedule, scheduled

RATE = 0.4
FORMS = {
    "constant": lambda step: RATE,
    "linear": lambda step: RATE * (1 - step / 8),
    "cosine": lambda step: RATE * math.cos(math.pi / 2 * step / 8) ** 2,
    "step": lambda step: RATE * (1 if step < 4 else 0.1 if step < 6 else 0.01),
}


def optimizer(rate: float = RATE) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)


def trainer(max_steps: int = -1, *timers: Timer) -> SimpleNamespace:
    """What a schedule asks of a Trainer."""
    return SimpleNamespace(
        max_steps=max_steps, callbacks=list(timers), strategy=SimpleNamespace(broadcast=lambda value: value)
    )


def schedule(name: str, max_steps: int = 8, rate: float = RATE, *timers: Timer) -> Schedule:
    return scheduled(optimizer(rate), name, trainer(max_steps, *timers))["lr_scheduler"]["scheduler"]


def rates(schedule: Schedule, steps: int) -> list[float]:
    """The step sizes of the next so many outer steps."""
    values = []
    for _ in range(steps):
        values.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step(), schedule.step()
    return values


def test_every_name_has_a_closed_form_here():
    assert set(FORMS) == set(FACTORS)


@pytest.mark.parametrize("name", FORMS)
def test_a_named_schedule_is_its_closed_form(name):
    assert rates(schedule(name), 9) == pytest.approx([FORMS[name](step) for step in range(9)])


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_schedule_to_zero_ends_at_zero_and_stays_there(name):
    assert rates(schedule(name), 12)[8:] == pytest.approx([0, 0, 0, 0])


def test_cosine_is_torchs():
    theirs = CosineAnnealingLR(optimizer(), T_max=8)
    assert rates(schedule("cosine"), 8) == pytest.approx(rates(theirs, 8))


def test_every_group_of_parameters_has_its_own_step_size():
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in (0.4, 0.2)]
    ours = scheduled(torch.optim.SGD(groups), "linear", trainer(8))["lr_scheduler"]["scheduler"]
    rates(ours, 4)
    assert ours.get_last_lr() == pytest.approx([0.2, 0.1])


def stopped(schedule: Schedule | CosineAnnealingLR | StepLR, steps: int) -> tuple[dict, dict]:
    """What a checkpoint keeps of an optimiser and its schedule after so many outer steps."""
    rates(schedule, steps)
    return schedule.optimizer.state_dict(), schedule.state_dict()


def resume(ours: Schedule, states: tuple[dict, dict]) -> Schedule:
    """As Lightning does: the optimiser's state first, then the schedule's."""
    ours.optimizer.load_state_dict(states[0])
    ours.load_state_dict(states[1])
    return ours


@pytest.mark.parametrize("name", FORMS)
def test_a_training_resumed_as_it_was_goes_on_as_if_it_had_not_stopped(name):
    ours = resume(schedule(name), stopped(schedule(name), 3))
    assert rates(ours, 5) == pytest.approx([FORMS[name](step) for step in range(3, 8)])


def test_a_training_resumed_with_more_steps_or_another_step_size_goes_on_as_it_is_told_to():
    states = stopped(schedule("linear"), 4)
    assert rates(resume(schedule("linear", max_steps=16), states), 2) == pytest.approx([0.4 * 12 / 16, 0.4 * 11 / 16])
    assert rates(resume(schedule("linear", rate=0.8), states), 2) == pytest.approx([0.8 * 4 / 8, 0.8 * 3 / 8])
    assert rates(resume(schedule("constant"), states), 2) == pytest.approx([0.4, 0.4])
    # One that had come to its end takes up again.
    done = stopped(schedule("cosine"), 8)
    assert rates(resume(schedule("cosine", max_steps=16), done), 1) == pytest.approx([0.4 / 2])


@pytest.mark.parametrize("other", [lambda o: CosineAnnealingLR(o, T_max=5), lambda o: StepLR(o, step_size=2)])
def test_a_training_resumed_from_another_scheduler_goes_on_by_the_number_of_steps(other):
    ours = resume(schedule("linear"), stopped(other(optimizer()), 4))
    assert rates(ours, 2) == pytest.approx([0.4 * 4 / 8, 0.4 * 3 / 8])


class Clock(Timer):
    """A timer whose hands are moved by hand."""

    def __init__(self, duration: float | None) -> None:
        super().__init__(None)
        self.duration, self.now = duration, 0.0

    def time_elapsed(self, stage: object = None) -> float:
        return self.now

    def time_remaining(self, stage: object = None) -> float | None:
        return None if self.duration is None else self.duration - self.now


def rate_at(schedule: Schedule, clock: Clock, now: float) -> float:
    clock.now = now
    schedule.optimizer.step(), schedule.step()
    return schedule.get_last_lr()[0]


def test_a_training_that_ends_by_the_clock_goes_by_the_clock():
    clock = Clock(100)
    ours = schedule("linear", -1, RATE, clock)
    assert ours.get_last_lr() == [RATE]
    assert [rate_at(ours, clock, now) for now in (25, 50, 100, 110)] == pytest.approx([0.3, 0.2, 0, 0])


def test_of_steps_and_clock_counts_what_ends_first():
    clock = Clock(100)
    ours = schedule("linear", 4, RATE, clock)
    # After one of four steps and 10 of 100 seconds, a quarter is done; after two steps and 80 seconds, four fifths.
    assert [rate_at(ours, clock, now) for now in (10, 80)] == pytest.approx([0.3, 0.08])


def test_all_processes_go_by_the_clock_of_the_first():
    clock, place = Clock(100), trainer(-1, Clock(100))
    place.callbacks, place.strategy.broadcast = [clock], lambda shares: [0.5]
    ours = scheduled(optimizer(), "linear", place)["lr_scheduler"]["scheduler"]
    assert rate_at(ours, clock, 10) == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["linear", "cosine", "step"])
@pytest.mark.parametrize("timers", [[], [Clock(None)]], ids=["no timer", "a timer without an end"])
def test_a_schedule_over_a_training_without_an_end_is_refused(name, timers):
    message = rf"^lr_scheduler {name} follows the length of the training: set --trainer\.max_steps$"
    with pytest.raises(FewShotError, match=message):
        schedule(name, -1, RATE, *timers)
    assert rates(schedule("constant", -1, RATE, *timers), 3) == [RATE] * 3


def test_a_scheduler_of_torch_is_taken_as_it_comes():
    ours = scheduled(optimizer(), lambda o: StepLR(o, step_size=2, gamma=0.5), trainer(-1))
    assert ours["lr_scheduler"]["interval"] == "step"
    assert rates(ours["lr_scheduler"]["scheduler"], 5) == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])


class Rates(Callback):
    """The step size of every outer step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"max_steps": 4}, [0.4, 0.3, 0.2, 0.1]),
        ({"max_steps": 4, "max_time": {"hours": 1}}, [0.4, 0.3, 0.2, 0.1]),
        ({"max_epochs": 1, "max_time": {"hours": 1}}, [0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_lightning_takes_one_step_of_the_schedule_per_outer_step(end, expected):
    seen = Rates()
    network = Conv4(channels=2, running_statistics=True)
    module = ProtoNetModule(network, meta_lr=RATE, lr_scheduler="linear", optimizer=torch.optim.AdamW)
    place = quiet_trainer(callbacks=[seen], **end)
    place.fit(module, DataLoader([image_tasks()] * 4, batch_size=None))
    assert isinstance(place.optimizers[0], torch.optim.AdamW)
    # An hour is long beside four outer steps: it changes the rates by less than a hundredth.
    assert seen.seen == pytest.approx(expected, rel=1e-2)
