"""The server: of this machine alone, with scripts of its own, until it is told to end."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from http.client import HTTPConnection

import pytest

from fewshot.explore.server import names


def test_all_scripts_are_the_server_s_own(server):
    page = urllib.request.urlopen(server[1]).read().decode()
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


def test_pages_from_elsewhere_are_not_let_in(server):
    assert status_of_a_websocket(server[1], "http://elsewhere.example") == 403
    assert status_of_a_websocket(server[1], server[1]) != 403


def test_nobody_else_reaches_it(server):
    port = int(server[1].rpartition(":")[2])
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in own:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, port), timeout=2)


def test_a_taken_port_is_told(server, fails):
    port = server[1].rpartition(":")[2]
    assert fails("explore", f"--port={port}", "--show=false") == (
        f"port {port} is taken: give another, as in --port {int(port) + 1}"
    )


def test_ctrl_c_closes_the_page(server):
    process = server[0]
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "The page is closed.\n"
    assert process.wait(timeout=30) == 0


def test_a_server_for_others_answers_to_its_own_names():
    assert names("127.0.0.1") == {"127.0.0.1", "localhost"}
    assert names("192.0.2.7") == {"192.0.2.7", "127.0.0.1", "localhost"}
    assert socket.gethostname() in names("0.0.0.0")


def test_without_bokeh_the_install_is_told(fails, monkeypatch):
    monkeypatch.setattr("fewshot.explore.command.find_spec", lambda name: None)
    assert 'pip install "bokeh' in fails("explore")


def test_the_command_line_does_without_bokeh():
    code = "import sys, fewshot.explore, json; print(json.dumps([name for name in sys.modules if 'bokeh' in name]))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == []
