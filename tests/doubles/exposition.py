"""A service that only shows its metrics: all of them, after a little of everything has happened."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl

from service.core.raising import complete
from service.core.state import Config, State, new_state
from service.core.turn import LATE, SEGMENT_CHANGES, Counts, DayRecord, Turn
from service.metrics import CONTENT_TYPE, Metrics

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class NamedRule:
    """As much of a rule as metrics are told."""

    id: str
    kind: str


RULES = (NamedRule("drop_data", "risk"), NamedRule("sudden_surge", "opportunity"))


def turn_with(
    counts: Counts, transitions: list[dict[str, object]], segments: Sequence[tuple[int, str | None]] = ()
) -> Turn:
    """A turn with such transitions (what they leave out is null), and changes to such segments by market."""
    schema = {name: SEGMENT_CHANGES[name] for name in ("segment", "market")}
    frame = complete(pl.DataFrame(transitions)) if transitions else complete(pl.DataFrame())
    return Turn(
        cursor=0,
        feedback_cursor=0,
        transitions=frame,
        contacts=pl.DataFrame(),
        late=pl.DataFrame(schema=LATE),
        counts=counts,
        segments=pl.DataFrame(list(segments), schema=schema, orient="row"),
    )


def raised(rule: str, kind: str, orders: str, *, suppressed_by: str | None = None) -> dict[str, object]:
    """A raised warning."""
    return {
        "rule": rule,
        "kind": kind,
        "severity": "warning",
        "transition": "raised",
        "state": "raised",
        "suppressed_by": suppressed_by,
        "orders": orders,
    }


def state_with(episodes: list[dict[str, object]]) -> State:
    """A shard's state that has closed day 100 and holds such episodes (`row` and the columns of transitions)."""
    state = new_state(Config())
    state.closed_day = 100
    state.watermark.us = 102 * DAY_US
    frame = pl.DataFrame(episodes)
    state.last_close = DayRecord(100, 0, "clock", "3f1c", 1, 1)
    state.episodes.frame = complete(frame.drop("row")).with_columns(row=frame["row"].cast(pl.Int32))
    return state


def open_episode(row: int, severity: str, money_minor: int, **other: object) -> dict[str, object]:
    """An open episode of the rule drop_data."""
    return {
        "row": row,
        "rule": "drop_data",
        "kind": "risk",
        "severity": severity,
        "state": "raised",
        "suppressed_by": None,
        "money_at_risk_minor": money_minor,
    } | other


def exercise(metrics: Metrics) -> None:
    """Call every method once or more, as a running service would; shard 0 stays, shard 1 comes and goes."""
    _load(metrics)
    metrics.records_taken(0, 120, {"malformed": 2}, {"usage.hologram": 3})
    metrics.turn_committed(
        turn_with(
            Counts(counted=100, late=5, repeated=10),
            [
                raised("drop_data", "risk", '{"call": "ordered", "sms": "no_consent"}'),
                raised("drop_data", "risk", "{}", suppressed_by="standing"),
            ],
            [(42, "campus"), (42, "campus"), (5, None)],
        )
    )
    metrics.batch_finished(0.2)
    for result in ("committed", "aborted", "unknown", "fenced"):
        metrics.transaction_ended(result, 0.02)
    metrics.day_closed(0.4)
    metrics.shard_moved(0, cursor=120, high_watermark=150)
    metrics.shard_measured(0, state_with([open_episode(0, "critical", 120_000), open_episode(1, "notice", 60_000)]))
    tally = pl.DataFrame({"segment": [1, 42], "market": ["campus", None], "subscribers": [10, 3]})
    metrics.segments_counted(0, tally)
    metrics.snapshot_found(0, 101 * DAY_US)
    metrics.snapshot_saved(0, 0.1, 9_700_000, 102 * DAY_US)
    metrics.snapshot_failed()
    metrics.request_served("/v1/subscribers/{id}", "GET", 200, 0.01)
    metrics.request_served("/v1/warnings", "GET", 503, 0.3)
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()


def _load(metrics: Metrics) -> None:
    metrics.broker_answers(connected=True)
    metrics.consumer_restarted()
    metrics.rulebooks_judge(["3f1c"], RULES)
    metrics.rulebooks_refused(1)
    metrics.partitions_known(1)
    metrics.reasons_known(["malformed", "no_key"])
    for partition in (0, 1):
        metrics.shard_entered(partition, "restoring")
        metrics.shard_restored(0.5)
        metrics.shard_entered(partition, "running")
        metrics.usage_held(partition, held=False)
    metrics.shard_left(1)


@contextmanager
def exposition(metrics: Metrics) -> Iterator[str]:
    """Serve /metrics on a free port while inside, with more having happened at each scrape; gives host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exercise(metrics)
            body = metrics.render()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
