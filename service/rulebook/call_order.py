"""What orders the call list, from its file: signs of leaving, and the groups within which the order is looked at."""

from service.core.rules import CallOrder, Sign
from service.rulebook.building import Shared, reader_under
from service.rulebook.documents import Document
from service.rulebook.formats import CALL_ORDER
from service.rulebook.problems import RulebookError
from service.rulebook.reading import Reader


def build_call_order(document: Document, shared: Shared) -> CallOrder:
    """The signs and groups that a document names. Raises: RulebookError."""
    reader = reader_under(document, CALL_ORDER, shared)
    signs, groups = _conditions(reader, "signs"), _conditions(reader, "groups")
    reader.check_params_are_read()
    if reader.problems:
        raise RulebookError(reader.problems)
    return CallOrder(signs, groups)


def _conditions(reader: Reader, part: str) -> tuple[Sign, ...]:
    told = reader.at(part)
    made = [(name, reader.expression(part, name)) for name in (told if isinstance(told, dict) else ())]
    return tuple(Sign(name, one.expression, frozenset(one.reads)) for name, one in made if one is not None)
