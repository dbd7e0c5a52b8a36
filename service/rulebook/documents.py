"""YAML files as data that still knows its lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.rulebook.problems import Problem
from service.settings.yaml_text import find_refusal

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its path below the rules folder, its content as plain values, and the line of every value.

    `lines` maps the steps to a value (keys and indices from the root) to its line, counted from 1; None where the
    lines are not known.
    """

    file: str
    data: object
    lines: Mapping[Steps, int] | None

    @property
    def stem(self) -> str:
        """The file's name without its ending: the id of what it holds."""
        return Path(self.file).stem

    def problem(self, steps: Steps, message: str) -> Problem:
        """A problem at a value, or at the nearest one around it that has a line."""
        if self.lines is None:
            return Problem(self.file, 0, message)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return Problem(self.file, self.lines.get(steps, 1), message)


def read_document(folder: Path, file: str) -> Document | Problem:
    """Read one YAML file of a rules folder; what cannot be read or is no YAML comes back as a problem."""
    try:
        text = (folder / file).read_text(encoding="utf-8")
        if (refused := find_refusal(text)) is not None:
            return Problem(file, *refused)
        told = _reader().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Problem(file, mark.line + 1 if mark else 0, f"not YAML: {_said(error)}")
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        return Problem(file, 0, f"not YAML: {str(error).splitlines()[0]}")
    except OSError as error:
        return Problem(file, 0, f"cannot be read: {error.strerror}")
    return Document(file, plain(told), dict(_lines(told, ())))


class _Constructor(RoundTripConstructor):
    """Leaves dates as the text they are, so that an impossible one is told with its line like any other fault."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", RoundTripConstructor.construct_yaml_str)


def _reader() -> YAML:
    reader = YAML(typ="rt")
    reader.Constructor = _Constructor
    return reader


def _said(error: MarkedYAMLError) -> str:
    parts = (part.strip().splitlines()[0] for part in (error.context, error.problem) if part)
    return ", ".join(parts)


def plain(value: object) -> object:
    """The value without the reader's own types, so that it compares, hashes and serialises as what it says."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _lines(value: object, steps: Steps) -> Iterator[tuple[Steps, int]]:
    if isinstance(value, CommentedMap):
        for key, inner in value.items():
            line, _ = value.lc.key(key)
            yield (*steps, str(key)), line + 1
            yield from _lines(inner, (*steps, str(key)))
    elif isinstance(value, CommentedSeq):
        for at, inner in enumerate(value):
            line, _ = value.lc.item(at)
            yield (*steps, at), line + 1
            yield from _lines(inner, (*steps, at))
