"""A worker takes the shards that fit, warns before they do not, and finds its limit where the system keeps it."""

import os
from pathlib import Path

from service.worker.memory import BASE_BYTES, is_nearly_full, needed_bytes, plan, read_limit, read_resident

GB = 1 << 30


def files(root: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("memory_max", "memory.max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_a_shard_needs_what_it_held_and_room_to_be_restored() -> None:
    assert needed_bytes(0) == 0
    assert 100 << 20 < needed_bytes(100 << 20) <= 200 << 20


def test_all_shards_that_fit_are_taken_without_a_warning() -> None:
    planned = plan(dict.fromkeys(range(24), 80 << 20), (), 4 * GB)
    assert (planned.taken, planned.refused, planned.is_tight) == (tuple(range(24)), (), False)
    assert planned.needed_bytes == BASE_BYTES + 24 * (80 << 20)
    assert planned.sentence == "24 shards will need about 2,320 MB of the 4,096 MB there are"


def test_four_fifths_of_the_limit_are_warned_of() -> None:
    limit = 2 * GB
    fits = int(0.8 * limit) - BASE_BYTES
    assert not plan({0: fits - 1}, (), limit).is_tight
    tight = plan({0: fits + 1}, (), limit)
    assert (tight.is_tight, tight.refused) == (True, ())
    assert tight.sentence.endswith("; give it more before it grows")
    assert is_nearly_full(int(0.8 * limit) + 1, limit)
    assert not is_nearly_full(int(0.7 * limit), limit)


def test_what_does_not_fit_is_refused_and_what_is_held_stays() -> None:
    needs = {0: GB // 2, 1: GB, 2: GB // 4, 3: GB // 4}
    planned = plan(needs, {3}, 2 * GB)
    assert (planned.taken, planned.refused) == ((0, 2, 3), (1,))
    assert "partitions 1 do not fit and are refused" in planned.sentence
    assert plan(needs, set(needs), GB).refused == ()
    assert plan(needs, set(needs), GB).is_tight


def test_the_limit_is_the_least_of_the_groups_and_the_machine(tmp_path: Path) -> None:
    assert read_limit(5, tmp_path, 8 * GB) == 5
    assert read_limit(None, tmp_path, 8 * GB) == 8 * GB
    root = files(tmp_path, proc__self__cgroup="0::/city/worker\n", sys__fs__cgroup__city__memory_max=f"{4 * GB}\n")
    files(root, sys__fs__cgroup__city__worker__memory_max="max\n")
    assert read_limit(None, root, 8 * GB) == 4 * GB
    assert read_limit(None, root, 2 * GB) == 2 * GB
    files(root, sys__fs__cgroup__memory_max=f"{GB}\n")
    assert read_limit(None, root, 8 * GB) == GB


def test_this_process_has_a_limit_and_says_what_it_holds_where_the_system_does(tmp_path: Path) -> None:
    assert read_limit() > 0
    assert read_resident(tmp_path) is None
    files(tmp_path, proc__self__statm="2000 1000 300 1 0 900 0\n")
    assert read_resident(tmp_path) == 1000 * os.sysconf("SC_PAGE_SIZE")
