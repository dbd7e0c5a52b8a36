"""The text of the project itself: what a reader, a fresh machine or another time would stumble over, with reasons."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from service.settings import SETTINGS_FILE, entries

ROOT = Path(__file__).parents[1]

FILE_LINES = 420
FUNCTION_LINES = 60

# Put together from pieces, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    "|".join(
        re.escape(host + end)
        for host, end in [
            ("pypi", ".org"),
            ("pythonhosted", ".org"),
            ("repo1.maven", ".org"),
            ("repo.maven", ".apache.org"),
            ("registry.npmjs", ".org"),
            ("proxy.golang", ".org"),
            ("--index", "-url"),
            ("--extra-index", "-url"),
        ]
    )
)
MACHINE_PATHS = re.compile(r"(?:^|[^A-Za-z0-9_.}])/(?:work|farm|root|home|Users|tmp/[a-z])/")
OUTSIDE = re.compile(r"\.\./" + "shared")
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore)")
SILENCED_WELL = re.compile(
    r"# noqa: [A-Z]+\d+(?:, [A-Z]+\d+)* - \S.+|# type: ignore\[[a-z-]+(?:, [a-z-]+)*\]  ?(?:#|-) ?\S.+"
)
VARIABLE = re.compile(r"\bCHURN_[A-Z]+__[A-Z0-9_]+")
CLOCK_READS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "loop": {"time"},
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "types", "manager", "base", "misc"}


@cache
def files() -> list[Path]:
    """What is committed or would be."""
    git = shutil.which("git") or pytest.fail("git is needed to know the project's files")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own arguments
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@cache
def text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path))


def python(*folders: str) -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def matches(pattern: re.Pattern[str]) -> Iterator[str]:
    for path in files():
        if pattern.search(text(path)):
            for number, line in enumerate(text(path).splitlines(), 1):
                if pattern.search(line):
                    yield f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def nodes(kind: type[ast.AST] | tuple[type[ast.AST], ...], *folders: str) -> Iterator[tuple[str, ast.AST]]:
    for path in python(*folders):
        for node in ast.walk(tree(path)):
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", node


def long_files() -> Iterator[str]:
    for path in python("service", "tests", "deploy"):
        count = text(path).count("\n")
        if count > FILE_LINES:
            yield f"{path.relative_to(ROOT)}: {count} lines"


def long_functions() -> Iterator[str]:
    for place, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef), "service", "tests", "deploy"):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        lines = (node.end_lineno or 0) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{place}: {node.name} has {lines} lines"


def silent_modules() -> Iterator[str]:
    for path in python("service", "tests", "deploy"):
        if not ast.get_docstring(tree(path)):
            yield str(path.relative_to(ROOT))


def vague_modules() -> Iterator[str]:
    for path in python("service", "tests", "deploy"):
        if path.stem in VAGUE or path.parent.name in VAGUE:
            yield str(path.relative_to(ROOT))


def bare_silences() -> Iterator[str]:
    for path in python("service", "tests", "deploy"):
        for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
            silenced = token.type == tokenize.COMMENT and SILENCED.search(token.string)
            if silenced and not SILENCED_WELL.search(token.string):
                yield f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}"


def calls(*folders: str) -> Iterator[tuple[str, str, str]]:
    """(place, what before the dot, name) of every call of something's method or function."""
    for place, node in nodes(ast.Call, *folders):
        assert isinstance(node, ast.Call)
        if isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            yield place, name, node.func.attr


def imports(*folders: str) -> Iterator[tuple[str, str, set[str]]]:
    for place, node in nodes(ast.ImportFrom, *folders):
        assert isinstance(node, ast.ImportFrom)
        yield place, node.module or "", {alias.name for alias in node.names}


def sleeps() -> Iterator[str]:
    for place, owner, name in calls("tests"):
        if (owner, name) == ("time", "sleep"):
            yield place
    for place, module, names in imports("tests"):
        if module == "time" and "sleep" in names:
            yield place


def clock_reads() -> Iterator[str]:
    for place, owner, name in calls("service"):
        if name in CLOCK_READS.get(owner, ()) and not place.startswith("service/clock.py:"):
            yield f"{place}: {owner}.{name}"
    for place, module, names in imports("service"):
        if module == "time" and names & CLOCK_READS["time"]:
            yield f"{place}: from time import {', '.join(sorted(names))}"


def skips() -> Iterator[str]:
    for place, node in nodes(ast.Attribute, "tests"):
        assert isinstance(node, ast.Attribute)
        if place.startswith("tests/conftest.py:") or not isinstance(node.value, ast.Name | ast.Attribute):
            continue
        owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
        if (owner, node.attr) in {("pytest", "skip"), ("pytest", "importorskip"), ("pytest", "xfail")} or (
            owner == "mark" and node.attr in {"skip", "skipif", "xfail"}
        ):
            yield f"{place}: {owner}.{node.attr}"


def mocks() -> Iterator[str]:
    for place, module, names in imports("tests"):
        if module.startswith("unittest") and (module.endswith("mock") or "mock" in names):
            yield place


def unknown_variables() -> Iterator[str]:
    known = {entry.variable for entry in entries()} | {SETTINGS_FILE}
    for path in files():
        if path.name in {"test_settings.py", "test_bad_start.py"}:  # they name wrong ones on purpose
            continue
        for number, line in enumerate(text(path).splitlines(), 1):
            for name in VARIABLE.findall(line):
                if name not in known:
                    yield f"{path.relative_to(ROOT)}:{number}: {name}"


def packages_of_tests() -> Iterator[str]:
    for path in python("tests"):
        if path.name == "__init__.py":
            yield str(path.relative_to(ROOT))


def places_outside() -> Iterator[str]:
    return (found for found in matches(OUTSIDE) if not found.startswith(".ci/run:"))


CHECKS: list[tuple[Callable[[], Iterator[str]], str]] = [
    (long_files, f"a file of more than {FILE_LINES} lines holds a second idea that wants its own name"),
    (long_functions, f"a function of more than {FUNCTION_LINES} lines cannot be read at once: split it"),
    (silent_modules, "a module opens with one sentence on its one job"),
    (vague_modules, "a name that fits everything attracts everything: name the noun"),
    (bare_silences, "who silences a check says which and why, on the line: `# noqa: X1 - why`"),
    (
        lambda: matches(REGISTRIES),
        "where packages come from is the machine's business: a lock holds versions, hashes",
    ),
    (lambda: matches(MACHINE_PATHS), "a path of one machine is nowhere else: make it relative, or a setting"),
    (places_outside, "the project speaks for itself and needs nothing beside it"),
    (sleeps, "a test that sleeps is slow or flaky, mostly both: await a condition with a deadline"),
    (clock_reads, "time is an argument: only service/clock.py reads it"),
    (skips, "nothing is skipped in silence: use require_tool or real_data of conftest.py"),
    (mocks, "a double has behaviour, in tests/doubles"),
    (packages_of_tests, "tests are namespace packages"),
    (unknown_variables, "the variable of a setting that does not exist misleads: see `churn-warning settings`"),
]


@pytest.mark.parametrize(("find", "reason"), CHECKS, ids=[reason.split(":")[0][:60] for _, reason in CHECKS])
def test_the_text_is_tidy(find: Callable[[], Iterator[str]], reason: str) -> None:
    found = sorted(set(find()))
    assert not found, "\n".join([reason, *found])


OFFENCES: dict[str, tuple[str, str]] = {
    "service/long.py": ("long_files", '"""One."""\n' * (FILE_LINES + 1)),
    "service/deep.py": ("long_functions", "def f():\n" + "    1\n" * FUNCTION_LINES),
    "service/mute.py": ("silent_modules", "import os\n"),
    "service/utils.py": ("vague_modules", '"""One."""\n'),
    "service/hushed.py": ("bare_silences", "import os  # no" + "qa\n"),
    "service/hushed_code.py": ("bare_silences", "import os  # no" + "qa: F401\n"),
    "service/hushed_type.py": ("bare_silences", "x: int = ''  # type: ig" + "nore[assignment]\n"),
    "tests/test_slow.py": ("sleeps", "import time\ntime.sl" + "eep(1)\n"),
    "service/late.py": ("clock_reads", "from datetime import datetime\ndatetime.now()\n"),
    "service/later.py": ("clock_reads", "from time import monotonic\n"),
    "tests/test_left.py": ("skips", "import pytest\npytest.mark.skip\n"),
    "tests/test_fake.py": ("mocks", "from unittest.mock import Mock\n"),
    "tests/__init__.py": ("packages_of_tests", '"""One."""\n'),
    "README.md": ("unknown_variables", "set CHURN_HTTP_" + "_PROT\n"),
    "notes.md": ("places_outside", "see ../sha" + "red/data\n"),
}


@pytest.mark.parametrize("name", OFFENCES)
def test_each_check_finds_its_offence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    check, offence = OFFENCES[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(offence, encoding="utf-8")
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "ROOT", tmp_path)
    monkeypatch.setattr(here, "files", lambda: [path])
    assert [found.split(":")[0] for found in getattr(here, check)()] == [name]


@pytest.mark.parametrize(
    ("pattern", "offence"),
    [
        (REGISTRIES, "https://py" + "pi.org/simple"),
        (MACHINE_PATHS, "cd /ho" + "me/me"),
        (MACHINE_PATHS, "'/ro" + "ot/x'"),
    ],
)
def test_patterns_find_their_offence(pattern: re.Pattern[str], offence: str) -> None:
    assert pattern.search(offence)
