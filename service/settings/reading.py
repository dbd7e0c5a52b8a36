"""From environment variables and a file to settings; an error names the variable or the line, and the remedy."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.settings.sections import Settings
from service.settings.yaml_text import find_refusal

PREFIX = "CHURN_"
SETTINGS_FILE = "CHURN_SETTINGS_FILE"
_NOT_OURS = re.compile(r"CHURN_(TEST_.*|PYTHON)$")  # for tests and scripts, of no meaning to the service

_PROBLEMS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text: put it in quotes",
    "string_too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must match {pattern}",
    "value_error": "{error}",
}


class SettingsError(Exception):
    """The settings cannot be used; each line is a sentence that names a variable or a file's line, and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as people see it; secrets are masked."""

    name: str  # section.key, as in the file
    variable: str
    default: str
    value: str
    meaning: str
    unset: object = None  # the default and the value as JSON has them: numbers, lists, null
    given: object = None


@dataclass(frozen=True, slots=True)
class _Given:
    where: str
    value: object


_Key = tuple[str, str]


def load(environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from a file (`file`, else the one CHURN_SETTINGS_FILE names), overruled by environment variables.

    Raises: SettingsError.
    """
    problems: list[str] = []
    named = environ.get(SETTINGS_FILE)
    given: dict[_Key, _Given] = {}
    if file is not None:
        given |= _from_file(file, str(file), problems)
    elif named:
        given |= _from_file(Path(named), SETTINGS_FILE, problems)
    given |= _from_environment(environ, problems)
    tree: dict[str, dict[str, object]] = {}
    for (section, key), one in given.items():
        tree.setdefault(section, {})[key] = one.value
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        problems += [_sentence(detail, given) for detail in error.errors()]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def entries(settings: Settings | None = None) -> list[Entry]:
    """Every setting in the order of the sections, with the value it has in `settings` (default: its default)."""
    settings = settings or Settings()
    told = []
    for (section, key), field in _fields():
        value = getattr(getattr(settings, section), key)
        told.append(
            Entry(
                name=f"{section}.{key}",
                variable=_variable(section, key),
                default=_shown(field.default),
                value=_shown(value),
                meaning=field.description or "",
                unset=_typed(field.default),
                given=_typed(value),
            )
        )
    return told


def _fields() -> Iterator[tuple[_Key, FieldInfo]]:
    for section, holder in Settings.model_fields.items():
        shape = holder.annotation
        assert isinstance(shape, type)  # noqa: S101 - every field of Settings is a section
        assert issubclass(shape, BaseModel)  # noqa: S101 - the same
        for key, field in shape.model_fields.items():
            yield (section, key), field


def _variable(section: str, key: str) -> str:
    return f"{PREFIX}{section}__{key}".upper()


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[_Key, _Given]:
    variables = {_variable(*path): path for path, _ in _fields()}
    known = [*variables, SETTINGS_FILE]
    problems += [
        f"There is no setting {name}{_meant(name, known)}: correct or remove it"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not _NOT_OURS.match(name)
    ]
    return {path: _Given(variable, environ[variable]) for variable, path in variables.items() if variable in environ}


def _from_file(file: Path, called_for_by: str, problems: list[str]) -> dict[_Key, _Given]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problems.append(f"{called_for_by}: the settings file {file} cannot be read ({reason}): correct its name")
        return {}
    if (refused := find_refusal(text)) is not None:
        problems.append(f"{file}:{refused[0]}: {refused[1]}")
        return {}
    try:
        data = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line = f":{mark.line + 1}" if mark else ""
        what = error.problem if isinstance(error, MarkedYAMLError) and error.problem else "it is not YAML"
        problems.append(
            f"{file}{line}: {what}: write sections with settings below them, as in `http:` and `  port: 8080`"
        )
        return {}
    return dict(_walk(file, data, problems)) if data is not None else {}


def _walk(file: Path, data: object, problems: list[str]) -> Iterator[tuple[_Key, _Given]]:
    fields = dict(_fields())
    sections = {section for section, _ in fields}
    if not isinstance(data, CommentedMap):
        problems.append(f"{file}:1: a settings file holds sections, such as `http:`, with settings below them")
        return
    for section, held in data.items():
        at = f"{file}:{data.lc.key(section)[0] + 1}"
        if section not in sections:
            problems.append(
                f"{at}: there is no section {section}{_meant(str(section), sections)}: correct or remove it"
            )
        elif not isinstance(held, CommentedMap):
            problems.append(f"{at}: {section} is a section: put its settings below it, indented")
        else:
            keys = [key for owner, key in fields if owner == section]
            for key, value in held.items():
                where = f"{file}:{held.lc.key(key)[0] + 1}: {section}.{key}"
                if key in keys:
                    yield (section, key), _Given(where, _plain(value))
                else:
                    problems.append(f"{where} is no setting{_meant(str(key), keys)}: correct or remove it")


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, CommentedMap) else value


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _sentence(detail: ErrorDetails, given: Mapping[_Key, _Given]) -> str:
    """One sentence for one of pydantic's errors."""
    problem = _problem(detail)
    section = str(detail["loc"][0])
    if len(detail["loc"]) == 1:  # what does not fit together: the message names the settings
        keys = "|".join(key for owner, key in dict(_fields()) if owner == section)
        return (
            re.sub(rf"\b({keys})\b", lambda found: _variable(section, found[1]), problem)
            + f" (or in the file, under {section})"
        )
    path = (section, str(detail["loc"][1]))
    field = dict(_fields())[path]
    secret = "Secret" in str(field.annotation)
    value = "not shown" if secret else repr(given[path].value)
    default = _shown(field.default)
    remedy = f"leave it out for {default}" if default else "leave it out"
    return f"{given[path].where} is {value}, but {problem}: change it, or {remedy}"


def _problem(detail: ErrorDetails) -> str:
    template = _PROBLEMS.get(detail["type"])
    if template is None:
        return f"is refused ({detail['msg'].lower()})"
    return template.format_map(detail.get("ctx", {}))


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return "********"
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(str(part) for part in value)
        case dict():
            return ",".join(f"{key}={part}" for key, part in value.items())
        case _:
            return str(value)


def _typed(value: object) -> object:
    """A value as JSON says it."""
    match value:
        case SecretStr() | Path():
            return _shown(value)
        case tuple():
            return list(value)
        case _:
            return value
