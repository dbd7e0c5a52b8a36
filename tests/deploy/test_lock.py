"""The lock: everything the project asks for, in plain versions with hashes, what only tests need at the end."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENTRY = re.compile(r"^([a-z0-9-]+)==([^ ]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def versions(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in ENTRY.findall(lock)}


def lacking(wanted: list[str], lock: str) -> list[str]:
    have = versions(lock)
    requirements = [Requirement(one) for one in wanted]
    return [str(one) for one in requirements if not one.specifier.contains(have.get(canonicalize_name(one.name), "0"))]


def test_the_lock_holds_all_that_the_project_asks_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert lacking([*PROJECT["project"]["dependencies"], *extras["demo"], *extras["test"]], LOCK) == []


def test_the_image_s_part_holds_the_service_the_demo_and_the_build() -> None:
    part, marker, _ = LOCK.partition("\n# Only for tests:\n")
    assert marker
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["demo"], *PROJECT["build-system"]["requires"]]
    assert lacking(wanted, part) == []
    assert not {"pytest", "mypy", "ruff", "duckdb"} & set(versions(part))


def test_the_lock_is_plain_versions_with_hashes() -> None:
    rest = ENTRY.sub("", LOCK)
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    assert "://" not in LOCK
