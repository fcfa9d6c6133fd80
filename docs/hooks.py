"""What mkdocs does beside its plugins: docstrings name things by Sphinx's roles, of which the site shows the names."""

import re
from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Takes ``:meth:`` and the like away from before the code that they stand for."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>|<autoref)", "", html)
