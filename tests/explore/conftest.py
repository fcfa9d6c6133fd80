"""What the tests of the page share."""

from collections.abc import Iterator

import pytest

pytest.importorskip("bokeh", reason="the page is made with Bokeh: pip install -e '.[explore]'")

from bokeh.document import Document

from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.page import Page


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The learners that come with fewshot, on a machine without Omniglot."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_DATA", str(tmp_path_factory.mktemp("empty")))
        yield Shelf.of([])


@pytest.fixture
def page() -> Page:
    """The page of a visitor."""
    return Page(Document())
