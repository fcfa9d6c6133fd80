"""The server of the page: on this machine, for this machine, with all scripts its own."""

import errno
import logging
import os
import socket
import sys

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.server.server import Server
from tornado.ioloop import PeriodicCallback

from fewshot.errors import FewShotError
from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.frame import fill
from fewshot.signals import Stopped, asked, wait
from fewshot.terminal import console

MOST_BYTES = 2 * 2**20
"""Of a message from a visitor; a drawing has some thousand."""

FORGET_AFTER = 10_000
"""Milliseconds after which the page of a visitor who has left is forgotten."""

LOOK_EVERY = 100
"""Milliseconds between two looks whether the process was told to end."""

LOCAL = ("127.0.0.1", "localhost")


def make_server(shelf: Shelf, address: str, port: int) -> Server:
    """A server that listens, and answers as soon as its loop runs: every visitor gets a document of their own.

    Raises:
        FewShotError: If it cannot listen there.
    """
    for name in ("bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        server = Server(
            {"/": Application(FunctionHandler(lambda document: fill(document, shelf)))},
            address=address,
            port=port,
            allow_websocket_origin=[f"{name}:{port}" for name in sorted(names(address))],
            websocket_max_message_size=MOST_BYTES,
            check_unused_sessions_milliseconds=FORGET_AFTER // 2,
            unused_session_lifetime_milliseconds=FORGET_AFTER,
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise FewShotError(f"port {port} is taken: give another, as in --port {port % 65535 + 1}") from None
        raise FewShotError(f"nothing can be served at {address}:{port} ({error.strerror or error})") from None
    except ValueError:  # of Bokeh, which knows no IPv6, and of names that cannot be
        raise FewShotError(f"--address {address!r} is neither an IPv4 address nor a name: try 0.0.0.0") from None
    server.start()  # or else nobody who has left is ever forgotten
    return server


def names(address: str) -> set[str]:
    """What a browser may call the server: pages from elsewhere are not let in."""
    if address in LOCAL:
        return set(LOCAL)
    return {name.lower() for name in (address, *LOCAL, link_name(address))}  # as browsers spell it


def link_name(address: str) -> str:
    """What to call the server in a link: an address that stands for all of the machine's is none to go to."""
    return socket.gethostname() if address == "0.0.0.0" else address


def serve(shelf: Shelf, address: str, port: int, show: bool) -> None:
    """Serves the page until the process is told to end.

    Raises:
        FewShotError: If it cannot be served there.
        Stopped: When it is told to end.
    """
    server = make_server(shelf, address, port)
    console().print(f"The page is at http://{link_name(address)}:{port}/ until Ctrl-C.", soft_wrap=True)
    if address not in LOCAL:
        console().print(
            f"--address {address}: everybody who can reach this machine there can open the page, without a password "
            "and without encryption, and have it compute. They can run no code and read no files by it.",
            soft_wrap=True,
        )
    if show and has_screen():
        server.io_loop.add_callback(server.show, "/")
    look = PeriodicCallback(lambda: server.io_loop.stop() if asked() else None, LOOK_EVERY)
    look.start()
    wait(True)  # what a signal raises while Python frees an object is lost, and the server would go on
    try:
        server.io_loop.start()
    finally:
        wait(False)
        look.stop()
        server.stop()
    if asked():
        raise Stopped(asked())


def has_screen() -> bool:
    """Whether a browser with windows can be expected."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
