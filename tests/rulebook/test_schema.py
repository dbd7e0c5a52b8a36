"""The schema for editors is the one that the code makes."""

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from service.rulebook.documents import plain
from service.rulebook.loading import ELSEWHERE, default_folder
from service.rulebook.schema import FILE, schema_text

KIND_OF = {
    "lists": "list",
    "calendars": "calendar",
    "signals": "signal",
    "segments.yaml": "segments",
    "params.yaml": "params",
    "limits.yaml": "limits",
    "tests": "test",
    "call_order.yaml": "call_order",
}
FILES = sorted(
    path.relative_to(default_folder()).as_posix()
    for path in default_folder().rglob("*.yaml")
    if path.relative_to(default_folder()).parts[0] not in {*ELSEWHERE} - {"tests"}
)


def test_the_file_for_editors_is_the_one_that_the_reader_makes() -> None:
    assert (default_folder() / FILE).read_text(encoding="utf-8") == schema_text(), (
        "make it anew: python -m service.rulebook.schema > rules/schema.json"
    )


@pytest.mark.parametrize("file", FILES)
def test_every_shipped_file_meets_the_schema_of_its_kind(file: str) -> None:
    schema = json.loads(schema_text())
    kind = KIND_OF.get(file.partition("/")[0], "rule")
    schema["$ref"] = f"#/$defs/{kind}"
    told = plain(YAML(typ="rt").load((default_folder() / file).read_text(encoding="utf-8")))
    jsonschema.Draft202012Validator(schema).validate(told)


@pytest.mark.parametrize("file", FILES)
def test_every_shipped_file_tells_editors_where_its_schema_is(file: str) -> None:
    kind = KIND_OF.get(file.partition("/")[0], "rule")
    first = (default_folder() / file).read_text(encoding="utf-8").splitlines()[0]
    place = Path("..", FILE) if "/" in file else Path(FILE)
    assert first == f"# yaml-language-server: $schema={place}" + ("" if kind == "rule" else f"#/$defs/{kind}")
