"""What happens before the command line is read."""

import os
import signal
import sys

import pytest

from fewshot import __main__


@pytest.mark.parametrize(("typed", "policy"), [(None, "passive"), ("active", "active")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(typed, policy, monkeypatch):
    monkeypatch.setattr(__main__, "run", lambda: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("OMP_WAIT_POLICY", typed or "")
    if typed is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    __main__.main()
    assert os.environ["OMP_WAIT_POLICY"] == policy
