"""Whether news of a warning is news to a client that was told a list before."""

from collections.abc import Iterable

from service.api.feed import News
from service.api.models import SubscriberWarning


class Told:
    """What the list of open warnings told of each, and the offset at which the log said the same, once that is known.

    News of a warning is news where it lies behind that offset; as long as none is known, where it is of a later
    moment. Moments alone would not do: a day's close is of the day's end, and what somebody did before the close came
    may be of later. Once any news of a warning is told, all that follows is.
    """

    def __init__(self, shown: Iterable[SubscriberWarning], kept: Iterable[News]) -> None:
        self._shown = {warning.id: warning for warning in shown}
        self._offsets: dict[str, int] = {}
        self._passed: set[str] = set()  # ids of which something later was told
        for news in kept:
            self._note(news)

    def knows(self, news: News) -> bool:
        """Whether anything of the warning was told."""
        return news.warning.id in self._shown or news.warning.id in self._passed

    def lacks(self, news: News) -> bool:
        """Whether the list did not tell as much."""
        shown = self._shown.get(news.warning.id)
        if shown is None:
            return True
        self._note(news)
        offset = self._offsets.get(news.warning.id)
        return news.warning.changed_at > shown.changed_at if offset is None else news.offset > offset

    def pass_by(self, news: News) -> None:
        """Something later is told than the list had."""
        if self._shown.pop(news.warning.id, None) is not None:
            self._passed.add(news.warning.id)

    def _note(self, news: News) -> None:
        shown = self._shown.get(news.warning.id)
        if shown is not None and _of_moment(news.warning) == _of_moment(shown):
            self._offsets[shown.id] = news.offset


def _of_moment(warning: SubscriberWarning) -> tuple[object, ...]:
    """What tells a warning's moments apart."""
    said = (warning.state, warning.severity, warning.acknowledged_by, warning.snoozed_until, warning.outcome)
    return (warning.changed_at, *said)
