"""What typed events add to days."""

import numpy as np
import polars as pl

from service.core.measures import contributions


def test_a_late_record_does_not_keep_the_usage_of_its_turn_in_memory() -> None:
    rows, days = np.arange(1000, dtype=np.int32), np.full(1000, 7, np.int32)
    days[500] = 3
    added = contributions({"usage.data": pl.DataFrame({"row": rows, "day": days, "bytes": rows.astype(np.int64)})})
    assert {day: part.height for day, part in added.items()} == {3: 1, 7: 999}
    assert added[3].row(0, named=True)["data"] == 500
    for measure in ("row", "data"):
        most, few = (added[day][measure].to_numpy(allow_copy=False) for day in (7, 3))
        starts = [part.__array_interface__["data"][0] for part in (most, few)]
        assert abs(starts[1] - starts[0]) > most.nbytes, f"{measure} of the late record lies among those of its turn"
