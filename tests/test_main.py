"""What happens before the command line is read."""

import os
import signal
import sys

import pytest

from fewshot import __main__


@pytest.mark.parametrize(
    ("variables", "count"),
    [({}, __main__.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
    ids=["nothing", "a count", "a policy"],
)
def test_threads_that_wait_soon_sleep_unless_the_user_says_otherwise(variables, count, monkeypatch):
    monkeypatch.setattr(__main__, "run", lambda: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    monkeypatch.setattr(os, "environ", own | variables)
    __main__.main()
    assert os.environ.get("GOMP_SPINCOUNT") == count
