"""Ridge regression against scikit-learn's, and training through it in low precision."""

import pytest
import torch
from helpers import image_tasks
from sklearn.linear_model import Ridge

from fewshot.algorithms import RidgeModule
from fewshot.algorithms.ridge import ridge
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


@pytest.mark.parametrize("examples", [4, 30], ids=["fewer examples than features", "more"])
@pytest.mark.parametrize("regulariser", [0.1, 20.0])
def test_the_weights_are_those_of_scikit_learn(examples, regulariser):
    x, y = torch.randn(2, examples, 8, dtype=torch.float64), torch.randn(2, examples, 3, dtype=torch.float64)
    for task, weights in enumerate(ridge(x, y, regulariser)):
        reference = Ridge(alpha=regulariser, fit_intercept=False).fit(x[task], y[task])
        torch.testing.assert_close(weights, torch.from_numpy(reference.coef_.T))


def test_logits_are_the_regression_of_one_hot_labels_scaled_and_shifted():
    module = RidgeModule(Conv4(channels=4, running_statistics=True), regulariser=0.5, scale=3.0).double().eval()
    module.shift.data.fill_(0.25)
    episode = image_tasks(tasks=1, ways=3, shots=2)
    support, queries = module.embed(episode)
    expected = 3 * (queries @ ridge(support.x, torch.eye(3).double()[support.y], 0.5)) + 0.25
    torch.testing.assert_close(module(episode).outputs, expected)


def test_it_is_trained_through_the_solution_and_learns_its_numbers():
    module = RidgeModule(Conv4(channels=4, running_statistics=True)).double()
    module.outer_loss(image_tasks(ways=3, shots=2)).loss.backward()
    learned = {name: parameter.grad.abs().max() for name, parameter in module.named_parameters()}
    assert learned.pop("shift") < 1e-12  # the same for all classes
    assert {"log_regulariser", "scale"} < learned.keys()
    assert min(learned.values()) > 0


def test_under_autocast_the_system_is_solved_in_float32():
    module, episode = RidgeModule(Conv4(channels=4, running_statistics=True)).eval(), image_tasks()
    episode = episode._replace(**{part: getattr(episode, part)._replace(x=getattr(episode, part).x.float())
                                  for part in ("support", "query")})  # fmt: skip
    expected = module(episode).outputs
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(episode).outputs
        module.outer_loss(episode).loss.backward()
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, rtol=0.05, atol=0.05)  # of an embedding in bfloat16


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(FewShotError, match=r"^regulariser must be positive, not 0$"):
        RidgeModule(Conv4(running_statistics=True), regulariser=0)
    with pytest.raises(FewShotError, match=r"^scale must be positive, not -1$"):
        RidgeModule(Conv4(running_statistics=True), scale=-1)
