"""A rules folder is read whole, and all that is wrong with it is told by file and line."""

from pathlib import Path

import polars as pl
import pytest

from service.core.calendar import to_date
from service.core.rules import Dimension, Offer
from service.rulebook.loading import build, check, default_folder, load
from service.rulebook.problems import RulebookError
from tests.rulebook.folders import ON_RULE, RULE, SIGNALS, make_folder


def problems_of(where: Path, files: dict[str, str]) -> list[str]:
    """All problems of a folder, as people read them."""
    rulebook, problems = check(make_folder(where, files), SIGNALS)
    assert (rulebook is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_a_rule_becomes_what_the_core_judges_by(tmp_path: Path) -> None:
    rulebook = load(make_folder(tmp_path, {"drops/spend_drop.yaml": RULE}), SIGNALS)
    (rule,) = rulebook.rules
    assert (rule.id, rule.family, rule.version, rule.kind) == ("spend_drop", "drops", 1, "risk")
    assert (rule.measure, rule.window_days, rule.keep_for_days, rule.on) == ("spend", 30, None, ())
    assert rule.names == {"spend_30d_drop", "days_silent", "manager"}
    assert rule.numbers == ("spend_30d_drop", "days_silent")
    assert rule.params == {"drop": 0.3}
    assert rule.default_severity == "notice"
    assert [level for level, _ in rule.severities] == ["critical"]
    assert [(order.channel, order.when is None) for order in rule.orders] == [("call", False), ("sms", True)]
    assert rule.offer == Offer("3-1-0-1", {"en": "Gift", "zh": "赠送"})
    assert rule.source["when"] == "spend_30d_drop >= :drop"
    frame = pl.DataFrame({"spend_30d_drop": [0.3, 0.29, None]})
    assert frame.select(it=rule.when)["it"].to_list() == [True, False, None]


def test_a_rule_on_a_type_reads_the_fields_of_its_records(tmp_path: Path) -> None:
    text = ON_RULE.replace("when: spend_30d_drop >= :drop", "when: event.used > :drop * event.total", 1)
    (rule,) = load(make_folder(tmp_path, {"moves/overflow.yaml": text}), SIGNALS).rules
    assert (rule.on, rule.keep_for_days) == (("quota", "recharge"), 14)
    assert {"event.used", "event.total"} <= rule.names


def test_severity_may_only_be_read_by_orders(tmp_path: Path) -> None:
    text = RULE.replace("days_silent >= 14", "severity = 'notice'")
    assert problems_of(tmp_path, {"a/b.yaml": text}) == ["a/b.yaml:10: severity.critical: unknown signal severity"]


def test_shared_parameters_give_way_to_the_rules_own(tmp_path: Path) -> None:
    text = RULE.replace("spend_30d_drop < 0.2", "days_silent < :calm")
    files = {"params.yaml": "{drop: 0.5, calm: 7, unread: 1}", "drops/spend_drop.yaml": text}
    (rule,) = load(make_folder(tmp_path, files), SIGNALS).rules
    assert rule.params == {"drop": 0.3, "calm": 7}


def test_the_currency_of_sentences_is_the_settings_unless_the_folder_says_otherwise(tmp_path: Path) -> None:
    text = RULE.replace("by {spend_30d_drop:percent}.", "to {spend_30d:money} {currency}.", 1)
    files = {"drops/spend_drop.yaml": text}
    (rule,) = load(make_folder(tmp_path, files), SIGNALS, {"currency": "EUR"}).rules
    assert rule.params == {"drop": 0.3, "currency": "EUR"}
    assert rule.why["en"] == "Spend fell to {spend_30d:money} {currency}."
    (rule,) = load(make_folder(tmp_path, {**files, "params.yaml": "{currency: yuan}"}), SIGNALS).rules
    assert rule.params["currency"] == "yuan"


def test_the_hash_is_of_what_files_say_and_of_all_they_say(tmp_path: Path) -> None:
    def hash_of(name: str, text: str, params: str = "{high: 1}") -> str:
        files = {"drops/spend_drop.yaml": text, "params.yaml": params}
        return load(make_folder(tmp_path / name, files), SIGNALS).hash

    plain = hash_of("plain", RULE)
    assert len(plain) == 16
    assert hash_of("laid_out", f"# a comment\n{RULE.replace('{drop: 0.3}', '{  drop: 0.30 }')}") == plain
    others = [
        hash_of("drop", RULE.replace("0.3", "0.4")),
        hash_of("words", RULE.replace("Look.", "Look again.")),
        hash_of("params", RULE, "{high: 2}"),
    ]
    assert len({plain, *others}) == 4


def test_every_status_is_read_and_shown(tmp_path: Path) -> None:
    files = {f"a/{s}.yaml": RULE.replace("stable", s) for s in ("experimental", "stable", "deprecated")}
    rules = load(make_folder(tmp_path, files), SIGNALS).rules
    assert [(rule.id, rule.status) for rule in rules] == [(rule.id, rule.id) for rule in rules]
    assert len(rules) == 3


def test_other_files_of_the_folder(tmp_path: Path) -> None:
    files = {
        "a/b.yaml": RULE,
        "lists/idle.yaml": "{title: {en: Idle, zh: 闲置}, when: days_silent > 30, numbers: [days_silent, market]}",
        "segments.yaml": "bands: [{measure: voice, window: 30d, stable: 0.15, warned: 0.4, up_floor: 10}]\n"
        "against: cohort\nbundles: {tied: [vpn, family]}\n"
        "dimensions: {market: {code: 600, values: [campus]}, voice: {code: 300, tops: [0, 30]}}\n",
        "calendars/x.yaml": "holidays: [{name: Spring, first: 2013-02-09, last: 2013-02-15, markets: [campus]}]",
        "mappings/m.yaml": "belongs to another reader",
        "profiles/p.yaml": "[so does this",
        "schema.json": "{}",
    }
    rulebook = load(make_folder(tmp_path, files), SIGNALS)
    (roll,), (band,), (holiday,) = rulebook.rolls, rulebook.bands, rulebook.holidays
    assert (roll.id, roll.title["en"], roll.numbers) == ("idle", "Idle", ("days_silent", "market"))
    assert roll.names == {"days_silent", "market"}
    assert (band.measure, band.window_days, band.stable, band.warned, band.up_floor) == ("voice", 30, 0.15, 0.4, 10)
    assert rulebook.dimensions == (Dimension("voice", 300, (0, 30)), Dimension("market", 600, (), ("campus",)))
    assert (rulebook.against, rulebook.bundle_kinds) == ("cohort", {"tied": ("vpn", "family")})
    assert (holiday.name, holiday.markets) == ("Spring", ("campus",))
    assert [str(to_date(day)) for day in (holiday.first_day, holiday.last_day)] == ["2013-02-09", "2013-02-15"]


SPOILED = [
    ("version: 1", "version: 0", "2: version: expected a whole number from 1 to 9999, found 0"),
    ("version: 1", "version: 1.5", "2: version: expected a whole number from 1 to 9999, found 1.5"),
    ("version: 1", "version: 99999999999", "2: version: expected a whole number from 1 to 9999, found 99999999999"),
    ("version: 1", "version: true", "2: version: expected a whole number from 1 to 9999, found true"),
    (
        "status: stable",
        "status: stabel",
        ("4: status: stabel is unknown, expected experimental | stable | deprecated; did you mean stable?"),
    ),
    (
        "kind: risk",
        "kind: risky",
        ("5: kind: risky is unknown, expected risk | opportunity | restricted; did you mean risk?"),
    ),
    (
        "runbook: Look.",
        "runbok: Look.",
        ("18: unknown key runbok; did you mean runbook?\n1: runbook is missing: what to do first"),
    ),
    ("owner: retention\n", "", "1: owner is missing: the team that answers for the rule"),
    ("owner: retention", "owner:", "3: owner: expected a text, found nothing"),
    (
        "spend_30d_drop >= :drop",
        "spend_30_drop >= :drop",
        ("7: when: unknown signal spend_30_drop; did you mean spend_30d_drop?"),
    ),
    (
        "spend_30d_drop >= :drop",
        "spend_30d_drop >= :dorp",
        (
            "6: params.drop is read by nothing; name it as :drop or "
            "remove it\n7: when: unknown parameter :dorp; did you mean :drop?"
        ),
    ),
    (
        "spend_30d_drop >= :drop",
        "spend_30d_drop >= :drop AND event.used > 1",
        ("7: when: event.used: the rule has no `on` types, so there is no record to read"),
    ),
    (
        "spend_30d_drop >= :drop",
        "market > :drop",
        ("7: when: market > :drop puts text and number together, expected one kind"),
    ),
    ("{drop: 0.3}", "{drop: [1]}", "6: params.drop: expected a number, a text, true or false, found a list"),
    (
        "{drop: 0.3}",
        "{drop: 0.3, Other: 1}",
        (
            "6: params: Other is no name; use a-z, 0-9 and _\n"
            "6: params.Other is read by nothing; name it as :Other or remove it"
        ),
    ),
    (
        "default: notice",
        "default: urgent",
        ("10: severity.default: urgent is unknown, expected notice | warning | critical"),
    ),
    (
        "critical: days_silent >= 14",
        "notice: days_silent >= 14",
        ("11: severity: notice is the default already, its condition would change nothing"),
    ),
    (
        "measure: spend",
        "measure: speech",
        (
            "12: measure: speech is unknown, expected spend | voice | voice_seconds | "
            "voice_in | data | sms | recharge | outgoing | bill"
        ),
    ),
    ("window: 30d", "window: 30", "13: window: expected a number of days like 14d, found 30"),
    ("  zh: 消费下降 {spend_30d_drop:percent}。\n", "", "14: why: zh is missing: in zh"),
    (
        "by {spend_30d_drop:percent}",
        "by {spend_30_drop:percent}",
        ("15: why.en: unknown signal spend_30_drop; did you mean spend_30d_drop?"),
    ),
    (
        "by {spend_30d_drop:percent}",
        "by {spend_30d_drop:percents}",
        ("15: why.en: unknown format percents, expected percent | money | minutes | bytes | days | plain"),
    ),
    (
        "by {spend_30d_drop:percent}",
        "by spend_30d_drop}",
        ("15: why.en: a brace stands alone: write {signal} or {signal:format}"),
    ),
    (
        "runbook: Look.",
        "runbook: Look.\nnumbers: [spend_30d, spent]",
        ("19: numbers.1: unknown signal spent; did you mean spend_tier?"),
    ),
    ("campaign: 3-1-0-1", "campaign: 3-1-0", "19: offer.campaign: expected a campaign code like 2-1-4-1, found 3-1-0"),
    ("channel: call", "channel: mail", "21: orders.0.channel: mail is unknown, expected call | sms | manager"),
    (
        "severity <> 'notice'",
        "severity <> 1",
        ("22: orders.0.when: severity <> 1 puts text and number together, expected one kind"),
    ),
    (
        "kind: risk",
        "kind: restricted",
        (
            "19: offer: who asked to port must not be made special offers; remove it\n"
            "20: orders: a restricted rule never makes an outbound order; remove them"
        ),
    ),
    (
        "clear_when: spend_30d_drop < 0.2",
        "on: [quota]",
        ("1: keep_for is missing: a rule with `on` says how long its episode stays open, like 14d"),
    ),
    (
        "clear_when: spend_30d_drop < 0.2",
        "on: [quota]\nkeep_for: 14d\nfor: 3d",
        ("10: for: a rule with `on` is raised by what happens, expected no for"),
    ),
    (
        "window: 30d",
        "on: [usage.vioce]\nkeep_for: 14d",
        (
            "8: clear_when: a rule with `on` ends by keep_for, expected "
            "no clear_when\n13: on.0: usage.vioce is unknown, expected"
        ),
    ),
    ("window: 30d", "version: 2", '13: not YAML: while constructing a mapping, found duplicate key "version"'),
    ("params: {drop: 0.3}", "params: {drop: 0.3", "7: not YAML: while parsing a flow mapping"),
]


@pytest.mark.parametrize(("sound", "spoiled", "expected"), SPOILED)
def test_every_fault_of_a_rule_is_told_with_its_line(tmp_path: Path, sound: str, spoiled: str, expected: str) -> None:
    assert sound in RULE
    # A comment before the rule: lines are those of the file.
    text = f"# A rule.\n{RULE.replace(sound, spoiled)}"
    told = problems_of(tmp_path, {"drops/spend_drop.yaml": text})
    wanted = [f"drops/spend_drop.yaml:{line}" for line in expected.splitlines()]
    assert len(told) == len(wanted)
    for line in wanted:
        assert any(said.startswith(line) for said in told), told


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    files = {
        "a/one.yaml": RULE.replace("risk", "risky").replace("days_silent", "days_silnt"),
        "b/one.yaml": RULE,
        "b/Two.yaml": RULE,
        "b/three.yml": RULE,
        "b/deep/four.yaml": RULE,
        "five.yaml": RULE,
        "params.yaml": "{high: [1]}",
        "lists/six.yaml": "{title: {en: Six}, when: days_silent}",
        "segments.yaml": "bands:\n- {measure: voice, window: 31d, stable: 0.5, warned: 0.4, up_floor: 1}\n"
        "- {measure: voice, window: 30d, stable: 2, warned: 0.4, up_floor: 1}\n",
        "calendars/c.yaml": "holidays:\n- {name: A, first: 2013-02-09, last: 2013-02-15}\n"
        "- {name: B, first: 2013-02-15, last: 2013-02-16}\n",
        "calendars/d.yaml": "holidays:\n- {name: A, first: 2013-02-30, last: 2013-02-15}\n",
        "calendars/e.yaml": "- a\n",
        "calendars/f.yaml": "holidays:\n- {name: A, first: 2013-02-09, last: 2013-02-08}\n",
    }
    assert problems_of(tmp_path, files) == [
        "a/one.yaml:4: kind: risky is unknown, expected risk | opportunity | restricted; did you mean risk?",
        "a/one.yaml:10: severity.critical: unknown signal days_silnt; did you mean days_silent?",
        "b/Two.yaml: a rule's file is its id: use a-z, 0-9 and _ only",
        "b/deep/four.yaml: lies too deep; expected <family>/<rule id>.yaml",
        "b/one.yaml: two rules are called one; the other is a/one.yaml",
        "b/three.yml: rename it to three.yaml, else it is not read",
        "calendars/c.yaml:3: B overlaps A; expected each day once in a calendar",
        "calendars/d.yaml:2: holidays.0.first: expected a date like 2026-02-15, found the text 2013-02-30",
        "calendars/e.yaml:1: expected fields holidays, found a list",
        "calendars/f.yaml:2: last 2013-02-08 lies before first 2013-02-09",
        "five.yaml: expected <family>/five.yaml, segments.yaml, params.yaml, limits.yaml or call_order.yaml",
        "lists/six.yaml:1: title: zh is missing: in zh",
        "lists/six.yaml:1: when: the expression is a number, expected a boolean",
        "params.yaml:1: high: expected a number, a text, true or false, found a list",
        "segments.yaml:2: bands.0: no signal voice_31d_baseline; did you mean voice_1d_baseline?",
        "segments.yaml:2: warned 0.4 lies within the stable band of 0.5, expected more",
        "segments.yaml:3: bands.1.stable: expected a number from 0 to 1, found 2",
        "segments.yaml:3: bands.1: voice has a band already, expected one a measure",
        "segments.yaml:3: warned 0.4 lies within the stable band of 2, expected more",
    ]


ONE_BAND = "bands: [{measure: voice, window: 30d, stable: 0.15, warned: 0.4, up_floor: 10}]\n"
SPOILED_DIMENSIONS = [
    ("{spend: {code: 200, tops: [1, 1]}}", "segments.yaml:2: spend: expected tops that rise, found 1, 1"),
    ("{spend: {code: 250, tops: [1]}}", "spend: expected a hundred like 200, to which ranks are added, found 250"),
    ("{spend: {code: 200, values: [a]}}", "spend: expected tops and no values"),
    ("{market: {code: 600, values: [a, a]}}", "market: expected each value once"),
    (
        "{bundle: {code: 100, values: [none, firm]}}",
        "dimensions.bundle.values.1: firm is unknown, expected none | soft | hard",
    ),
    (
        "{spend: {code: 200, tops: [1]}, voice: {code: 200, tops: [1]}}",
        "dimensions.voice: spend has the code 200 already",
    ),
    ("{spent: {code: 200, tops: [1]}}", "dimensions: unknown key spent; did you mean spend?"),
    (
        f"{{spend: {{code: 200, tops: {list(range(99))}}}}}",
        "spend: expected 98 tiers at most, so that a code has three digits",
    ),
]


@pytest.mark.parametrize(("dimensions", "expected"), SPOILED_DIMENSIONS)
def test_dimensions_of_segments_that_make_no_sense(tmp_path: Path, dimensions: str, expected: str) -> None:
    files = {"a/b.yaml": RULE, "segments.yaml": f"{ONE_BAND}dimensions: {dimensions}\n"}
    (problem,) = problems_of(tmp_path, files)
    assert problem.startswith("segments.yaml:2: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "a/b.yaml:1: expected fields"), (b"\xff\xfe\x00", "a/b.yaml: not YAML"), (b"\x00", "a/b.yaml: not YAML")],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, expected: str) -> None:
    (make_folder(tmp_path, {"a/b.yaml": ""}) / "a/b.yaml").write_bytes(content)
    _, problems = check(tmp_path, SIGNALS)
    assert str(problems[0]).startswith(expected)


@pytest.mark.parametrize(("files", "expected"), [({}, "no rules in it"), ({"params.yaml": "{a: 1}"}, "no rules in it")])
def test_a_folder_without_rules(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    (problem,) = problems_of(tmp_path, files)
    assert expected in problem


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match="no such folder"):
        load(tmp_path / "nowhere", SIGNALS)


def test_the_shipped_folder_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (default_folder() / "segments.yaml").is_file()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("&a [*a]", "1: anchors and aliases (&name, *name) are not read: write the value where it belongs"),
        (
            RULE + "<<: {x: 1}\n",
            f"{RULE.count(chr(10)) + 1}: merge keys (<<) are not read: write the keys where they belong",
        ),
        ("[" * 3000, "1: nested more than 32 deep"),
        ("{a: " * 3000, "1: nested more than 32 deep"),
    ],
    ids=["itself", "merge", "deep list", "deep block"],
)
def test_what_could_mean_more_than_is_written_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert problems_of(tmp_path, {"a/b.yaml": text}) == [f"a/b.yaml:{reason}"]


def test_a_date_without_its_dashes_is_told(tmp_path: Path) -> None:
    text = "holidays: [{name: a, first: 20240301, last: 2024-03-02}]"
    (problem,) = problems_of(tmp_path, {"a/b.yaml": RULE, "calendars/x.yaml": text})
    assert problem == "calendars/x.yaml:1: holidays.0.first: expected a date like 2026-02-15, found 20240301"


def test_contents_build_the_same_rulebook_and_their_faults_name_files_without_lines(tmp_path: Path) -> None:
    rulebook = load(make_folder(tmp_path, {"params.yaml": "{calm: 7}", "drops/spend_drop.yaml": RULE}), SIGNALS)
    assert build(rulebook.contents, SIGNALS).hash == rulebook.hash
    with pytest.raises(RulebookError) as raised:
        build(rulebook.contents, {name: dtype for name, dtype in SIGNALS.items() if name != "days_silent"})
    assert str(raised.value).startswith("drops/spend_drop.yaml: severity.critical: unknown signal days_silent")
    with pytest.raises(RulebookError, match="no rules in it"):
        build({}, SIGNALS)


def test_signs_of_leaving_and_groups_are_read_as_conditions(tmp_path: Path) -> None:
    text = "params: {long: 9}\nsigns: {silent: days_silent >= :long, new: tenure_days < 90}\ngroups: {known: fee = 0}\n"
    made = load(make_folder(tmp_path, {"a/one.yaml": RULE, "call_order.yaml": text}), SIGNALS).call_order
    assert {sign.name: set(sign.names) for sign in made.signs} == {"silent": {"days_silent"}, "new": {"tenure_days"}}
    assert [group.name for group in made.groups] == ["known"]
    people = pl.DataFrame({"days_silent": [8, 9]})
    assert people.select(made.signs[0].when).to_series().to_list() == [False, True]


def test_faults_of_the_call_order_are_told_with_their_lines(tmp_path: Path) -> None:
    text = "params: {long: 14}\nsigns:\n  silent: days_silnt >= 3\n  Odd: fee = 0\n  sum: fee + 1\nweights: {}\n"
    assert problems_of(tmp_path, {"a/one.yaml": RULE, "call_order.yaml": text}) == [
        "call_order.yaml:1: params.long is read by nothing; name it as :long or remove it",
        "call_order.yaml:3: signs.silent: unknown signal days_silnt; did you mean days_silent?",
        "call_order.yaml:4: signs: Odd is no name; use a-z, 0-9 and _",
        "call_order.yaml:5: signs.sum: the expression is a number, expected a boolean",
        "call_order.yaml:6: unknown key weights; known are params, signs, groups",
    ]
