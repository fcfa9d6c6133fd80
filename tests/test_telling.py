"""How a failure is told: one line, whatever it is, of one process."""

import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

import pytest

from fewshot import telling
from fewshot.errors import FewShotError, blaming, one_line
from fewshot.quiet import hide_hints
from fewshot.signals import Stopped
from fewshot.telling import one_line_errors


def told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[str, object]:
    """What is printed, and the exit status."""
    with pytest.raises(SystemExit) as status, one_line_errors():
        raise error
    return capsys.readouterr().err, status.value.code


def test_mistakes_and_failures_have_their_status(capsys, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert told(FewShotError("give\na number"), capsys) == ("fewshot: error: give a number\n", 2)
    failed = "fewshot: error: KeyError: 'x' (FEWSHOT_TRACEBACK=1 shows where)\n"
    assert told(KeyError("x"), capsys) == (failed, 1)
    assert told(Stopped(signal.SIGINT), capsys) == ("fewshot: stopped by SIGINT\n", 130)
    assert told(BrokenPipeError(), capsys) == ("", 141)
    monkeypatch.setenv("FEWSHOT_TRACEBACK", "1")
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("x")


def test_a_process_whose_output_was_closed_has_its_status(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert told(FewShotError("no"), capsys) == ("fewshot: error: no\n", 2)


def test_long_values_are_cut(capsys):
    assert one_line("x" * 5000 + " is no number") == "x" * 200 + "… is no number"
    assert len(one_line("1, " * 5000)) < 1300


def test_what_a_library_says_names_the_option():
    with pytest.raises(FewShotError, match=r"^--trainer: ZeroDivisionError: division by zero$"), blaming("--trainer"):
        1 / 0  # noqa: B018


@pytest.mark.parametrize(("parent_ended", "shown"), [(True, ""), (False, "fewshot: error: rank 1: a mistake\n")])
def test_another_rank_speaks_only_if_the_first_one_does_not(parent_ended, shown, capsys, monkeypatch):
    def leave(status: int) -> NoReturn:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(telling, "PATIENCE", 0.1)
    monkeypatch.setattr(telling, "PARENT", os.getppid() + parent_ended)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert told(FewShotError("a mistake"), capsys) == (shown, 2)


def test_the_first_rank_is_quiet_once_another_has_spoken(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    other = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"])
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert told(RuntimeError("connection closed by peer"), capsys) == ("", 2)
    other.wait()


@pytest.mark.parametrize(("error", "quiet"), [(OSError("no space left"), True), (ValueError("a bug"), False)])
def test_a_thread_that_cannot_write_leaves_it_to_the_main_thread(error, quiet, capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def fail() -> None:
        raise error

    hide_hints()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert (capsys.readouterr().err == "") == quiet


def test_ctrl_c_while_libraries_are_imported_ends_it_without_a_word(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}
    process = subprocess.run([sys.executable, "-m", "fewshot", "demo"], capture_output=True, text=True, env=environment)
    assert (process.returncode, process.stderr) == (-signal.SIGINT, "")
