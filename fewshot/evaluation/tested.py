"""``tested.json``: the results of tests, each with a checksum, so that what counts as one is what a test wrote."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fewshot.evaluation.fingerprint import digest
from fewshot.files import write_json
from fewshot.terminal import console

Row = dict[str, Any]
"""One result: what ``test.json`` says, and ``name``, ``knob``, ``value``, ``seconds``, ``scores`` per episode."""

SCHEMA = 2
"""Raise it when the fields of a row change: the rows of before are then tested anew."""


def read_tested(file: Path) -> dict[str, Row]:
    """The results in a file by their keys; says in a line which of them do not count.

    Raises:
        OSError: If the file cannot be read.
    """
    if not file.exists():
        return {}
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        console().print(f"{file} is damaged: what was tested before is tested anew", soft_wrap=True)
        return {}
    whole = [row for row in rows if isinstance(row, dict) and row.get("checksum") == _checksum(row)]
    if len(whole) < len(rows):
        console().print(
            f"{len(rows) - len(whole)} of the {len(rows)} results in {file} are not as a test of this version wrote "
            "them: they are tested anew",
            soft_wrap=True,
        )
    return {row["key"]: {name: value for name, value in row.items() if name != "checksum"} for row in whole}


def write_tested(file: Path, rows: Iterable[Row]) -> None:
    """Writes results with their checksums.

    Raises:
        OSError: If the file cannot be written.
    """
    write_json(file, [{**row, "checksum": _checksum(row)} for row in rows])


def _checksum(row: Row) -> str:
    return digest([SCHEMA, {name: value for name, value in row.items() if name != "checksum"}])
