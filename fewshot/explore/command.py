"""``fewshot explore``: opens the page in the browser."""

from importlib.util import find_spec
from pathlib import Path

import torch

from fewshot.errors import FewShotError, in_range
from fewshot.explore.shelf import Shelf
from fewshot.signals import Stopped
from fewshot.terminal import console

HOME = "127.0.0.1"


def explore(
    ckpt_paths: list[Path] | None = None,
    trust: list[str] = [],  # noqa: B006
    port: int = 5006,
    address: str = HOME,
    show: bool = True,
) -> None:
    """Opens a page in the browser to play with trained learners: sinusoids, a race, your own drawings, gradients.

    Everything is served from this machine and to it alone, until Ctrl-C.

    Args:
        ckpt_paths: Checkpoints of yours, as in [a.ckpt,b.ckpt], of sinusoids or of small drawings; they take the place
            of those of the same kind that come with fewshot.
        trust: Modules of your own, as in [my.module], whose classes the checkpoints may use.
        port: Of this machine, where the page is served.
        address: Where it is served. Any other than 127.0.0.1 serves it to others as well, without a password: the
            machine's own, as in 192.168.1.5, by which they open it.
        show: Open the browser, where there is one.

    Raises:
        FewShotError: If Bokeh is not installed, the port is taken, or a checkpoint is not one that can be shown.
    """
    if find_spec("bokeh") is None:
        raise FewShotError('the page is made with Bokeh, which is not installed: pip install "bokeh>=3.9"')
    in_range(1, 65535, port=port)
    from fewshot.explore.server import serve  # Bokeh is imported here alone

    torch.set_num_threads(1)  # the networks are small: more threads would wait for one another
    try:
        with console().status("Loading the learners and their characters"):
            shelf = Shelf.of(ckpt_paths or [], trust)
        serve(shelf, address, port, show)
    except Stopped:
        console().print("The page is closed.")
