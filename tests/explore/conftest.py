"""What the tests of the page share."""

import socket
from collections.abc import Iterator
from queue import Queue
from threading import Thread

import pytest

pytest.importorskip("bokeh", reason="the page is made with Bokeh: pip install -e '.[explore]'")

from bokeh.document import Document
from bokeh.server.server import Server

from fewshot.explore.server import make_server
from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.page import Page


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The learners that come with fewshot, on a machine without Omniglot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_DATA", str(tmp_path_factory.mktemp("empty")))
        return Shelf.of([])


@pytest.fixture(scope="session")
def port() -> int:
    """One that is free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def server(shelf: Shelf, port: int) -> Iterator[Server]:
    """The page's server, in a thread of its own; it soon forgets those who have left."""
    made: Queue[Server] = Queue()

    def serve() -> None:
        server = make_server(shelf, "127.0.0.1", port)
        made.put(server)
        server.io_loop.start()
        server.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fewshot.explore.server.FORGET_AFTER", 1500)
        thread = Thread(target=serve, daemon=True)
        thread.start()
        server = made.get(timeout=60)
    yield server
    server.io_loop.add_callback(server.io_loop.stop)
    thread.join(timeout=60)


@pytest.fixture(scope="session")
def url(server: Server, port: int) -> str:
    """Where the page is."""
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def page() -> Page:
    """The page of a visitor."""
    return Page(Document())
