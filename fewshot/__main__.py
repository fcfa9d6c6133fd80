"""``python -m fewshot``: the same as the ``fewshot`` command."""

from fewshot.cli import main

main()
