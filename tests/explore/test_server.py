"""The server: of this machine alone, with scripts of its own, until it is told to end."""

import ast
import gc
import re
import signal
import socket
import time
import urllib.request
import weakref
from http.client import HTTPConnection
from threading import Thread

import pytest
from bokeh.client import pull_session
from bokeh.server.server import Server
from helpers import REPOSITORY

from fewshot.cli import main
from fewshot.explore import server as served
from fewshot.explore.server import link_name, names
from fewshot.explore.shelf import Shelf


def test_all_scripts_are_the_server_s_own(url):
    page = urllib.request.urlopen(url, timeout=60).read().decode()
    scripts = re.findall(r'<script[^>]*src="([^"]+)"', page)
    assert scripts
    assert all(script.startswith("static/") or script.startswith("/static/") for script in scripts)
    assert "cdn" not in page


def status_of_a_websocket(url: str, origin: str) -> int:
    """What the server says to a page from somewhere that wants to talk to it."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": origin}  # fmt: skip
    connection = HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/ws", headers=headers)
    return connection.getresponse().status


def test_pages_from_elsewhere_are_not_let_in(url):
    assert status_of_a_websocket(url, "http://elsewhere.example") == 403
    assert status_of_a_websocket(url, url) != 403


def test_nobody_else_reaches_it(server, port):
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in own:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, port), timeout=2)


def test_those_who_have_left_are_forgotten(server, url):
    """Nothing of their pages stays: fifty visitors would leave 250 MB else."""
    visit = pull_session(url=url)
    (document,) = [weakref.ref(session.document) for session in server.get_sessions() if session.id == visit.id]
    visit.close()
    deadline = time.monotonic() + 60
    while visit.id in {session.id for session in server.get_sessions()}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    gc.collect()
    assert document() is None


def test_a_taken_port_is_told(server, port, shelf, fails, monkeypatch):
    monkeypatch.setattr(Shelf, "of", lambda *_: shelf)
    assert fails("explore", f"--port={port}", "--show=false") == (
        f"port {port} is taken: give another, as in --port {port + 1}"
    )
    for address in ("::1", "no..such"):
        message = f"--address {address!r} is neither an IPv4 address nor a name: try 0.0.0.0"
        assert fails("explore", f"--address={address}", f"--port={port + 1}", "--show=false") == message


class CtrlC:
    """What raises an exception while it is freed is ignored by Python."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_closes_the_page(shelf, monkeypatch, capsys):
    """The real command serves the page, says where, and ends when told to, also while Python frees an object."""
    make, pages = served.make_server, []

    def leave() -> None:
        CtrlC()

    def make_and_leave(*args: object) -> Server:
        server = make(*args)
        visitor = Thread(target=visit, args=(server, f"http://127.0.0.1:{server.port}/"))
        server.io_loop.add_callback(visitor.start)
        return server

    def visit(server: Server, url: str) -> None:
        try:
            pages.append(urllib.request.urlopen(url, timeout=60).read())
        finally:
            server.io_loop.add_callback(leave)

    monkeypatch.setattr(Shelf, "of", lambda *_: shelf)
    monkeypatch.setattr(served, "make_server", make_and_leave)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    main(["explore", f"--port={port}", "--show=false"])
    assert b"fewshot explore" in pages[0]
    assert capsys.readouterr().out == f"The page is at http://127.0.0.1:{port}/ until Ctrl-C.\nThe page is closed.\n"


def test_a_server_for_others_answers_to_its_own_names():
    assert names("127.0.0.1") == {"127.0.0.1", "localhost"}
    assert names("192.0.2.7") == {"192.0.2.7", "127.0.0.1", "localhost"}
    assert socket.gethostname().lower() in names("0.0.0.0")
    assert "lab.example" in names("Lab.example")  # as a browser spells it
    assert link_name("0.0.0.0") == socket.gethostname()
    assert link_name("192.0.2.7") == "192.0.2.7"


def test_without_bokeh_the_install_is_told(fails, monkeypatch):
    monkeypatch.setattr("fewshot.explore.command.find_spec", lambda name: None)
    assert 'pip install "bokeh' in fails("explore")


def test_the_command_line_does_without_bokeh():
    """What is imported with fewshot imports neither Bokeh nor the files of the page that do."""
    package = REPOSITORY / "fewshot"
    page = {package / "explore" / "server.py", *(package / "explore" / "tabs").iterdir()}
    for path in set(package.rglob("*.py")) - page:
        for node in ast.parse(path.read_text()).body:  # what a function imports comes later
            words = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
            assert not re.search(
                r"\bbokeh\b|fewshot\.explore\.(server|tabs)|fewshot\.explore import (server|tabs)", words
            ), path
