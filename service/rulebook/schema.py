"""rules/schema.json: what editors need to know of the files of a rules folder, made from the reader's own fields."""

import json
import sys

from service.rulebook.cases import TEST
from service.rulebook.formats import FORMATS

FILE = "schema.json"


def schema_text() -> str:
    """The text of rules/schema.json: a rule at its root, the other kinds of file under `$defs`."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Files of a rules folder",
        "$ref": "#/$defs/rule",
        "$defs": {name: shape.schema() for name, shape in {**FORMATS, "test": TEST}.items()},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
