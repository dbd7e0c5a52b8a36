"""What withholds a warning is found whether lines lie in one piece of memory or in several."""

import polars as pl

from service.core.publication import reasons
from service.core.state import Config, new_state
from service.core.turn import TRANSITIONS
from tests.core.rulebooks import book


def test_lines_in_several_pieces_have_a_reason_each() -> None:
    told = {name: "x" for name, dtype in TRANSITIONS.items() if dtype == pl.String()}
    line = pl.DataFrame([dict.fromkeys(TRANSITIONS) | told] * 2, schema=TRANSITIONS)
    lines = line.vstack(line).vstack(line)
    assert lines.n_chunks() == 3
    assert reasons(new_state(Config()), book(), lines, 1).to_list() == [None] * 6
