"""What the core tells fits what the API promises."""

import json
from datetime import UTC, datetime

from service.api.models import SubscriberRecord
from service.api.views import Presenter, instant, microseconds
from service.core.record import describe
from tests.core.test_record import BOOK, told


def test_the_core_s_record_of_a_life_in_which_every_feed_has_spoken_has_no_null() -> None:
    state = told()
    record = describe(state, BOOK, "a", state.episodes.frame)
    assert record is not None
    record["as_of"].setdefault("partition", 0)
    shown = json.loads(Presenter(lambda: BOOK).record(record))
    assert SubscriberRecord.model_validate(shown).model_dump(by_alias=True, mode="json") == shown
    assert [name for name, value in shown.items() if value is None] == ["withheld"]
    assert None not in shown["as_of"].values()
    (warning,) = shown["warnings"]["open"]
    assert (warning["rule"], warning["state"], warning["offer"]["campaign"]) == ("low", "raised", "2-0-2-1")
    assert len(shown["daily"]) == 90


def test_instants_are_exact_to_the_microsecond() -> None:
    at = datetime(2025, 3, 31, 16, 0, 0, 123_457, tzinfo=UTC)
    assert instant(microseconds(at)) == at
    assert instant(microseconds(datetime.max.replace(tzinfo=UTC))) == datetime.max.replace(tzinfo=UTC)
    assert instant(None) is None
