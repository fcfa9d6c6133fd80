"""The pages of the studies: their tables and figures are those that the studies wrote."""

import re

import pytest
from helpers import REPOSITORY

from fewshot.studies.figures import measured, published
from fewshot.studies.methods import accuracy_table

DOCS = REPOSITORY / "docs"
WITH_TABLES_OF_ITS_OWN = {"recipes"}  # of single trainings, with their commands


@pytest.mark.parametrize("study", ["homework", "family", "feature_reuse", "methods", "recipes"])
def test_a_page_quotes_its_study(study):
    page = (DOCS / f"{study}.md").read_text()
    tables = "\n".join(file.read_text() for file in (DOCS / study).glob("*.md"))
    quoted, written = ({line for line in text.splitlines() if line.startswith("|")} for text in (page, tables))
    assert len(written) > 10
    assert not (written - quoted if study in WITH_TABLES_OF_ITS_OWN else quoted - written)
    pictures = re.findall(rf"\]\(({study}/.*?\.png)\)", page)
    assert all((DOCS / picture).exists() for picture in pictures)


def test_what_the_page_in_the_browser_shows_is_the_table_of_methods():
    assert accuracy_table(published(), measured()) in (DOCS / "methods" / "tables.md").read_text()
