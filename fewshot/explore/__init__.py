"""``fewshot explore``: a page to play with. What it computes is here, what it shows is in ``tabs``."""

from fewshot.explore.command import explore
