"""What no YAML file of ours may hold: anchors, aliases, merge keys, and nesting without end.

A few lines of them can mean billions of values, values within themselves, or more depth than any reader has.
"""

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
)

_DEEPEST = 32
_OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)


def find_refusal(text: str) -> tuple[int, str] | None:
    """Line (from 1) and sentence of the first thing that is refused; None where there is none, or it is no YAML."""
    depth = 0
    try:
        for token in YAML(typ="rt").scan(text):
            line = token.start_mark.line + 1
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if isinstance(token, AnchorToken | AliasToken):
                return line, "anchors and aliases (&name, *name) are not read: write the value where it belongs"
            if isinstance(token, ScalarToken) and token.plain and token.value == "<<":
                return line, "merge keys (<<) are not read: write the keys where they belong"
            if depth > _DEEPEST:
                return line, f"nested more than {_DEEPEST} deep"
    except YAMLError:
        pass  # whoever reads the text says it better
    return None
