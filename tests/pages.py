"""What the README and the pages of docs/ hold: commands, Python, links."""

import re
import shlex
from pathlib import Path

from helpers import REPOSITORY

README = REPOSITORY / "README.md"
PAGES = [README, *sorted(REPOSITORY.glob("docs/*.md"))]
"""What a reader reads first, and the rest of the documentation."""


def text(page: Path) -> str:
    """What is written there."""
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> list[list[str]]:
    """The words of each line of the page's ``bash`` blocks; what is only shown is in ``sh`` blocks or indented."""
    blocks = re.findall(r"```bash\n(.*?)```", text(page), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def python(page: Path) -> list[str]:
    """The page's Python to be run; files are not among it."""
    return re.findall(r"```python\n(.*?)```", text(page), re.DOTALL)


def files(page: Path) -> dict[str, str]:
    """The files that the page shows in full, by their title."""
    return dict(re.findall(r'```python title="(.*?)"\n(.*?)```', text(page), re.DOTALL))


def targets(page: Path) -> set[str]:
    """What ``make`` is told to make."""
    return set(re.findall(r"(?:`|^    )make (\w+)", text(page), re.MULTILINE))


def links(page: Path) -> list[tuple[str, str]]:
    """Path and anchor of each link and picture that does not leave the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text(page))
    return [target.partition("#")[::2] for target in targets if not re.match(r"https?:", target)]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are linked by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL), re.MULTILINE)
    words = (re.sub(r"\[(.*?)\]\(.*?\)|[`*]", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in words}
