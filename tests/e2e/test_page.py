"""The page in a real browser: what is live, what can be done, and what strangers cannot do to it."""

from collections.abc import Callable, Iterator
from datetime import date

import pytest

from service.api.feed import Limits
from service.api.server import HttpServer
from service.ports import Acknowledge, Resolve, Snooze
from tests.api.conftest import Place, Served, make_place, serving
from tests.doubles.desk import FIRST_DAY, row
from tests.doubles.records import record
from tests.e2e.browsing import Page, browsing

HOSTILE = '<img src=x onerror="window.harmed=1">/../\'%00\u202e'


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium, chromedriver = require_tool("chromium", "chromium"), require_tool("chromedriver", "chromium-driver")
    with browsing(chromium, chromedriver, tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def place() -> Place:
    return make_place(Limits(retry_s=0.01))


@pytest.fixture
def served(place: Place) -> Iterator[Served]:
    with serving(place) as running:
        yield running


@pytest.fixture
def page(browser: Page, served: Served) -> Iterator[Page]:
    """The page of a desk with three open warnings, loaded and live; it must leave no error behind."""
    desk = served.place.desk
    desk.show(row(1, money_at_risk_minor=999_900))
    desk.show(row(2, rule="silence", severity="critical", market="migrant"))
    desk.show(row(3, rule="port_requested", kind="restricted", orders='{"call": "restricted"}'))
    browser.open(served.address)
    browser.until_texts("#rows .who", ["s-0003", "s-0002", "s-0001"])
    browser.until_texts("#link-text", ["Live"])
    yield browser
    assert browser.log() == []
    browser.open("about:blank")  # else it would look for this server when it is gone


def test_open_warnings_and_their_counts_are_shown(page: Page) -> None:
    page.until_texts(".tile .value", ["3", "1", "2", "0"])
    assert page.texts("#rules .chip") == ["drop_voice 1", "port_requested 1", "silence 1"]
    first, _, last = page.texts("#rows > tr")
    assert "Call: Restricted" in first
    assert "¥9,999" in last
    assert "Call: ordered" in last
    assert "SMS: no consent" in last
    assert "3 Apr 2025" in last


def test_what_happens_is_shown_at_once(page: Page, served: Served) -> None:
    served.place.desk.tell(row(4, severity="critical"))
    page.until_texts("#rows .who", ["s-0004", "s-0003", "s-0002", "s-0001"])
    page.until_texts(".tile .value", ["4", "2", "2", "0"])
    served.place.desk.resolve("e0004")
    page.until_texts("#rows tr.resolved .badge.done", ["Recovered"])
    page.until_texts(".tile .value", ["3", "1", "2", "0"])


def test_a_paused_table_stands_still_and_says_what_waits(page: Page, served: Served) -> None:
    page.click("#pause")
    page.until_texts("#pause", ["Resume"])
    served.place.desk.tell(row(4))
    page.until_texts("#pause", ["Resume, 1 waiting"])
    assert len(page.all("#rows .who")) == 3
    page.click("#pause")
    page.until_texts("#rows .who", ["s-0004", "s-0003", "s-0002", "s-0001"])


def test_filters_narrow_the_list_and_the_news(page: Page, served: Served) -> None:
    page.click(".tile.critical")
    page.until_texts("#rows .who", ["s-0002"])
    served.place.desk.tell(row(4))
    served.place.desk.tell(row(5, severity="critical"))
    page.until_texts("#rows .who", ["s-0005", "s-0002"])
    page.write("#filters [name=market]", "migrant")
    page.until_texts("#rows .who", ["s-0002"])
    page.write("#filters [name=market]", "nowhere")
    page.until(lambda: "No open warning matches." in page.said)
    page.click("#filters [type=reset]")
    page.until_texts("#rows .who", ["s-0005", "s-0004", "s-0003", "s-0002", "s-0001"])


def test_value_orders_the_list(page: Page) -> None:
    page.run("const o = document.getElementById('order'); o.value = 'money'; o.dispatchEvent(new Event('change'))")
    page.until_texts("#rows .who", ["s-0001", "s-0003", "s-0002"])


def test_a_warning_is_taken_over(page: Page, served: Served) -> None:
    page.click('#rows tr[data-id="e0002"] .acknowledge')
    page.until(lambda: page.one("#dialog").is_displayed())
    page.write("#dialog [name=by]", "m-07 <b>")
    page.write("#dialog [name=note]", "calling")
    page.click("#dialog [type=submit]")
    page.until_texts('#rows tr[data-id="e0002"] .badge.taken', ["Taken over by m-07 <b>"])
    assert not page.one("#dialog").is_displayed()
    assert served.place.desk.written == [("e0002", Acknowledge("m-07 <b>", "calling"))]
    assert page.all('#rows tr[data-id="e0002"] .acknowledge') == []


def test_a_warning_is_put_off_and_settled(page: Page, served: Served) -> None:
    page.click('#rows tr[data-id="e0001"] .snooze')
    page.until(lambda: page.one("#dialog").is_displayed())
    assert not page.one("#outcome").is_displayed()
    page.write("#dialog [name=by]", "m-07")
    page.run("document.querySelector('#dialog [name=until]').value = '2025-04-05'")
    page.click("#dialog [type=submit]")
    page.until_texts('#rows tr[data-id="e0001"] .badge.later', ["Put off until 5 Apr 2025"])
    page.click('#rows tr[data-id="e0001"] .resolve')
    page.until(lambda: page.one("#outcome").is_displayed())
    assert not page.one("#until").is_displayed()
    page.run("document.querySelector('#dialog [name=outcome]').value = 'false_positive'")
    page.click("#dialog [type=submit]")
    page.until_texts('#rows tr[data-id="e0001"] .badge.done', ["False alarm"])
    assert page.all('#rows tr[data-id="e0001"] .do .button') == []
    assert [act for _, act in served.place.desk.written] == [
        Snooze("m-07", date(2025, 4, 5)),
        Resolve("m-07", "false_positive"),
    ]


def test_every_turn_of_a_case_is_shown(page: Page, served: Served) -> None:
    desk = served.place.desk
    desk.tell(row(1, transition="escalated", severity="critical", changed_us=row(2)["changed_us"]))
    page.until_texts('#rows tr[data-id="e0001"] .badge', ["Critical", "Graver now"])
    desk.tell(row(1, transition="recovering", state="recovering", recovering_on=FIRST_DAY))
    page.until_texts('#rows tr[data-id="e0001"] .badge', ["Warning", "Recovering since 31 Mar 2025"])
    desk.tell(row(1, transition="resolved", state="resolved", outcome="recovered"))
    page.until_texts('#rows tr[data-id="e0001"] .badge.done', ["Recovered"])
    desk.tell(row(1, transition="reopened"))
    page.until_texts('#rows tr[data-id="e0001"] .badge', ["Warning", "Came back"])
    page.until_texts(".tile .value", ["3", "1", "2", "0"])


def test_what_is_withheld_is_shown_apart_with_why(page: Page, served: Served) -> None:
    served.place.desk.show(row(9, suppressed_by="rule:silence"))
    page.run("document.querySelector('[name=suppressed]').value = 'true'")
    page.run("document.getElementById('filters').dispatchEvent(new Event('change'))")
    page.until_texts("#rows .who", ["s-0009"])
    assert "Withheld The subscriber has an open warning of rule silence." in page.texts("#rows > tr")[0]
    served.place.desk.tell(row(4))
    page.click("#filters [type=reset]")
    page.until_texts("#rows .who", ["s-0004", "s-0003", "s-0002", "s-0001"])


def test_a_warning_that_was_resolved_meanwhile_says_so(page: Page, served: Served) -> None:
    served.place.desk.show(row(2, state="resolved"))
    page.click('#rows tr[data-id="e0002"] .acknowledge')
    page.write("#dialog [name=by]", "m-07")
    page.click("#dialog [type=submit]")
    page.until(lambda: "resolved" in page.one("#dialog-error").text)
    page.click("#cancel")
    assert [entry for entry in page.log() if "409" not in entry] == []


def test_details_open_in_place_and_say_what_not_to_say(page: Page) -> None:
    page.click('#rows tr[data-id="e0001"] .toggle')
    page.until(lambda: page.all("#more-e0001"))
    told = page.one("#more-e0001").text
    assert "Do not say: Do not mention other networks." in told
    assert "voice_30d_drop 77.3 %" in told
    assert "Gift of minutes" in told


def test_strangers_words_stay_words(browser: Page, served: Served) -> None:
    desk = served.place.desk
    told = f'{{"en": "{HOSTILE.replace(chr(34), "")}"}}'
    desk.show(row(1, subscriber_id=HOSTILE, rule=HOSTILE, manager=HOSTILE, why=told))
    desk.records[HOSTILE] = record(HOSTILE, plan=HOSTILE, group={"group_id": HOSTILE, "key_person": True})
    browser.open(served.address)
    browser.until(lambda: browser.all("#rows .who"))
    assert browser.run("return document.querySelector('#rows .who').textContent") == HOSTILE
    browser.click("#rows .who")
    browser.until(lambda: browser.all("#record .id"))
    assert browser.run("return document.querySelector('#record .id').textContent") == HOSTILE
    browser.click("#rows .toggle")
    assert browser.run("return window.harmed") is None
    assert [image.get_attribute("src") for image in browser.all("img")] == [f"{served.address}/page/icon.svg"]
    assert browser.log() == []


def test_a_record_shows_everything_that_is_fed(page: Page, served: Served) -> None:
    served.place.desk.records["s-0001"] = record()
    page.write("#who", "+8613800000001")  # no id: found by its phone number
    page.click("#lookup [type=submit]")
    page.until(lambda: page.all("#record svg"))
    assert len(page.all("#record rect.bar")) == 90
    assert len(page.all("#record rect.bar.recent")) == 30
    assert page.texts("#record rect.holiday title") == ["Spring Festival"]
    told = page.one("#record").text
    for said in (
        "Campus 59",
        "¥120.40",
        "queried → other",
        "coverage",
        "42 voice warning",
        "Gift of 100 minutes",
        "5G",
        "The feed of this market is doubted",
        "Muted until 5 Apr 2025 by m-07: A recall of phones",
        "The subscriber has an open warning of rule drop_voice.",
    ):
        assert said in told, said
    page.click("#record .chart .chip:nth-child(2)")
    page.until(lambda: page.all('#record svg[data-measure="data"]'))
    assert "MB" in page.texts("#record rect.bar title")[0]
    page.click("#close")
    assert not page.one("#drawer").is_displayed()
    assert [entry for entry in page.log() if "404" not in entry] == []  # the id that was a phone number


@pytest.mark.parametrize(("is_restoring", "said"), [(False, "Nobody is known"), (True, "being restored")])
def test_a_lookup_that_fails_says_why(page: Page, served: Served, is_restoring: bool, said: str) -> None:  # noqa: FBT001 - a parameter of the test
    served.place.desk.restoring = {0, 1} if is_restoring else set()
    page.write("#who", "nobody")
    page.click("#lookup [type=submit]")
    page.until(lambda: said in page.one("#record").text)
    log = page.log()
    assert log
    assert all("404" in entry or "503" in entry for entry in log)


def test_both_languages_are_spoken(page: Page) -> None:
    page.click("[data-language=zh]")
    page.until_texts("h1", ["离网预警"])
    assert page.run("return document.documentElement.lang") == "zh-CN"
    assert "通话比前两个月下降 77%。" in page.texts("#rows > tr")[0]
    untold = page.run(
        "return [...document.querySelectorAll('[data-word]')].filter((e) => e.textContent === e.dataset.word).length"
    )
    assert untold == 0
    page.click("[data-language=en]")
    page.until_texts("h1", ["Churn warning"])


def test_a_lost_connection_is_shown_and_taken_up_again(browser: Page, served: Served) -> None:
    desk = served.place.desk
    desk.show(row(1))
    browser.open(served.address)
    browser.until_texts("#rows .who", ["s-0001"])
    served.server.stop(2)
    browser.until_texts("#link-text", ["Connection lost, trying again …"])
    desk.tell(row(2))
    host, port = served.address.removeprefix("http://").split(":")
    again = HttpServer(make_place(Limits(retry_s=0.01), desk=desk).app)
    again.start(host, int(port))
    try:
        browser.until_texts("#link-text", ["Live"])
        browser.until_texts("#rows .who", ["s-0002", "s-0001"])
    finally:
        again.stop(2)


def test_what_is_missing_is_said_until_it_is_back(browser: Page, served: Served) -> None:
    desk = served.place.desk
    desk.show(row(1))
    desk.restoring = {0, 1}
    browser.open(served.address)
    browser.until(lambda: "Partitions 0, 1 are still being restored" in browser.said)
    desk.restoring = set()
    browser.until_texts("#rows .who", ["s-0001"])
    browser.until(lambda: "restored" not in browser.said)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off(browser: Page, served: Served, width: int) -> None:
    desk = served.place.desk
    desk.show(row(1, subscriber_id="x" * 120, manager="y" * 80))
    desk.records["x" * 120] = record("x" * 120, plan="z" * 90)
    browser.open(served.address, width)
    browser.until(lambda: browser.all("#rows .who"))
    browser.click("#rows .toggle")
    browser.click("#rows .who")
    browser.until(lambda: browser.all("#record svg"))
    for part in ("document.documentElement", "document.getElementById('drawer')"):
        over = browser.run(f"return {part}.scrollWidth - {part}.clientWidth")
        assert over <= 0, part


def test_nothing_is_loaded_from_elsewhere(page: Page, served: Served) -> None:
    loaded = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) > 8
    assert [name for name in loaded if not name.startswith(served.address)] == []


def test_every_control_has_a_name(page: Page, served: Served) -> None:
    served.place.desk.records["s-0003"] = record("s-0003")
    page.click("#rows .who")
    page.until(lambda: page.all("#record svg"))
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, select, textarea')].filter((e) =>"
        " !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []
