"""What the tests of the page share."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("bokeh", reason="the page is made with Bokeh: pip install -e '.[explore]'")

from bokeh.document import Document

from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.page import Page


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The learners that come with fewshot, on a machine without Omniglot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_DATA", str(tmp_path_factory.mktemp("empty")))
        return Shelf.of([])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, str]]:
    """The command in a process of its own, and where its page is."""
    port = free_port()
    place = {"FEWSHOT_DATA": str(tmp_path_factory.mktemp("empty"))}
    words = [sys.executable, "-m", "fewshot", "explore", f"--port={port}", "--show=false"]
    with subprocess.Popen(words, env={**os.environ, **place}, stdout=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stdout if "page is at" in line)
        assert line == f"The page is at http://127.0.0.1:{port}/ until Ctrl-C.\n"
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


@pytest.fixture
def page() -> Page:
    """The page of a visitor."""
    return Page(Document())
