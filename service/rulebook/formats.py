"""What stands in each file of a rules folder: the one home of its fields, for the reader and for editors."""

from collections.abc import Iterator, Mapping

from service.core.events import CHANNELS, FIELDS
from service.core.measures import MEASURES
from service.core.rules import SEVERITIES
from service.core.segments import MEASURE_CODES
from service.core.tiers import BUNDLE_STATES
from service.rulebook.documents import Steps
from service.rulebook.shapes import Day, Each, Either, Fault, Fields, Named, Number, Shape, Text, Value, day_of

LANGUAGES = ("en", "zh")
KINDS = ("risk", "opportunity", "restricted")
STATUSES = ("experimental", "stable", "deprecated")

DIMENSIONS = ("bundle", "spend", "voice", "data", "tenure", "market", "device")
LISTED = ("bundle", "market", "device")  # whose ranks are places in a list, not tiers
AGAINST = ("own", "cohort")
_MOST_TIERS = 98

_SQL = "an SQL condition over signals, :params and, with `on`, event.<field>"
_RULES = "ids of rules, or names of families for all rules in them"


def _words(about: str) -> Fields:
    return Fields(about, {language: Text(f"in {language}") for language in LANGUAGES}, LANGUAGES)


def _days(about: str) -> Text:
    return Text(about, pattern="[1-9][0-9]{0,3}d", hint="a number of days like 14d")


_CAMPAIGN = Text(
    "class (1 uplift, 2 retention, 3 care) - manner (1 gift, 2 discount, 3 draw, 4 trial) - requirement (0 none, "
    "1 prepay, 2 minimum spend, 3 use a package, 4 stay some months, 5 sign up a service) - reward (1 bill credit, "
    "2 device, 3 minutes, 4 data, 5 voucher)",
    pattern="[1-3]-[1-4]-[0-5]-[1-5]",
    hint="a campaign code like 2-1-4-1",
)
_OVERRIDE = Named(
    "the value for those whose signals have these values, like {market: campus, value: 60}",
    Value("the value, or what a signal must equal"),
    required=("value",),
)
PARAMS = Named(
    "values that conditions name as :name",
    Either(
        "the value, or one that depends on the subscriber",
        Value("the value"),
        Fields(
            "a value that depends on the subscriber",
            {
                "default": Value("the value where no override is met"),
                "overrides": Each("tried in order, the first that is met gives the value", _OVERRIDE),
            },
            ("default", "overrides"),
        ),
    ),
)
_OFFER = Fields(
    "what may be offered",
    {"campaign": _CAMPAIGN, "name": _words("the offer as it is told to people")},
    ("campaign", "name"),
)
_ORDER = Fields(
    "an order to outbound marketing",
    {
        "channel": Text("who acts", among=CHANNELS),
        "when": Text(f"{_SQL}, and the episode's severity; without it always"),
    },
    ("channel",),
)


def _severity_makes_sense(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    default = value.get("default")
    if isinstance(default, str) and default in SEVERITIES and default in value:
        yield (*steps, default), f"severity: {default} is the default already, its condition would change nothing"


_SEVERITY = Fields(
    "urgency: the first of critical, warning, notice whose condition is true, else the default",
    {
        "default": Text("where no condition is true", among=SEVERITIES),
        **{level: Text(_SQL) for level in reversed(SEVERITIES)},
    },
    ("default",),
    _severity_makes_sense,
)


def _rule_makes_sense(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    if value.get("kind") == "restricted" and "orders" in value:
        yield (*steps, "orders"), "orders: a restricted rule never makes an outbound order; remove them"
    if value.get("kind") == "restricted" and "offer" in value:
        yield (*steps, "offer"), "offer: who asked to port must not be made special offers; remove it"
    if "on" in value and "keep_for" not in value:
        yield steps, "keep_for is missing: a rule with `on` says how long its episode stays open, like 14d"
    if "on" in value and "clear_when" in value:
        yield (*steps, "clear_when"), "clear_when: a rule with `on` ends by keep_for, expected no clear_when"
    if "on" in value and "for" in value:
        yield (*steps, "for"), "for: a rule with `on` is raised by what happens, expected no for"
    for name in ("cool_down", "most_per_day"):
        if "on" in value and name in value:
            yield (*steps, name), f"{name} is for rules judged every day; a rule with `on` tells of each event"


RULE = Fields(
    "one rule; its id is the file's name without .yaml",
    {
        "version": Number("raised by one with each change of meaning", 1, 9_999, is_whole=True),
        "owner": Text("the team that answers for the rule"),
        "status": Text("experimental rules are judged and never published", among=STATUSES),
        "kind": Text("risk, opportunity, or restricted by the regulator", among=KINDS),
        "severity": _SEVERITY,
        "why": _words("the reason in a sentence, with {signal} or {signal:format} filled in"),
        "avoid": _words("what not to say to the subscriber"),
        "runbook": Text("what to do first"),
        "params": PARAMS,
        "scope": Text(f"whom the rule is about: {_SQL}, which must hold beside when"),
        "on": Each("event types that are judged when they arrive; without it judged daily", Text("", tuple(FIELDS))),
        "when": Text(_SQL),
        "clear_when": Text(f"{_SQL}: the episode ends once this holds and `when` does not; default: NOT when"),
        "for": _days("raised at the last of so many daily closes in a row at which when held; default 1d"),
        "keep_for": _days("an episode stays open so long after its event, or recovering so long after it cleared"),
        "cool_down": _days("what holds again so soon after its episode ended is that episode, reopened"),
        "inhibits": Each(f"what is withheld while an episode of this rule is open: {_RULES}", Text("a rule or family")),
        "most_per_day": Number("what is raised beyond so many a day is kept and withheld", 1, is_whole=True),
        "numbers": Each("signals kept as evidence; default: all that when, severity and why name", Text("a signal")),
        "measure": Text("the measure that moved", among=(*MEASURES, "bill")),
        "window": _days("the window it was measured over"),
        "offer": _OFFER,
        "orders": Each("orders to outbound marketing", _ORDER),
    },
    ("version", "owner", "status", "kind", "severity", "why", "avoid", "runbook", "when"),
    _rule_makes_sense,
)

LIST = Fields(
    "a list of subscribers, made when asked; its id is the file's name without .yaml",
    {
        "title": _words("what the list holds"),
        "params": RULE.of["params"],
        "when": Text(_SQL),
        "numbers": Each("signals shown with each subscriber; default: all that when names", Text("a signal")),
    },
    ("title", "when"),
)


def _band_makes_sense(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    stable, warned = value.get("stable"), value.get("warned")
    if isinstance(stable, int | float) and isinstance(warned, int | float) and stable >= warned:
        yield (*steps, "warned"), f"warned {warned:g} lies within the stable band of {stable:g}, expected more"


def _dimension_makes_sense(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    name, code, tops, values = (steps[-1], *(value.get(key) for key in ("code", "tops", "values")))
    has, lacks = ("values", "tops") if name in LISTED else ("tops", "values")
    if has not in value or lacks in value:
        yield steps, f"{name}: expected {has} and no {lacks}"
    if isinstance(code, int) and code % 100:
        yield (*steps, "code"), f"{name}: expected a hundred like 200, to which ranks are added, found {code}"
    if isinstance(tops, list) and all(isinstance(top, int) for top in tops) and tops != sorted(set(tops)):
        yield (*steps, "tops"), f"{name}: expected tops that rise, found {', '.join(map(str, tops))}"
    if isinstance(values, list) and len({str(one) for one in values}) < len(values):
        yield (*steps, "values"), f"{name}: expected each value once"
    if max(len(each) for each in (tops, values, []) if isinstance(each, list)) > _MOST_TIERS:
        yield steps, f"{name}: expected {_MOST_TIERS} tiers at most, so that a code has three digits"


def _codes_differ(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    seen: dict[object, str] = {}
    dimensions = value.get("dimensions")
    for name, one in dimensions.items() if isinstance(dimensions, dict) else ():
        code = one.get("code") if isinstance(one, dict) else None
        if code is not None and seen.setdefault(code, name) != name:
            yield (*steps, "dimensions", name), f"dimensions.{name}: {seen[code]} has the code {code} already"


def _dimension(name: str) -> Fields:
    unit = {"spend": "minor units", "voice": "billed minutes", "data": "bytes", "tenure": "days"}.get(name, "")
    value = Text("a value", among=BUNDLE_STATES if name == "bundle" else ())
    return Fields(
        f"tiers by {unit} of the usual month" if unit else "a list of values",
        {
            "code": Number("the hundred of its six-digit codes", 100, 900, is_whole=True),
            "tops": Each(f"upper bounds, included, in {unit}", Number("a bound", 0, is_whole=True)),
            "values": Each("values by rank", value),
        },
        ("code",),
        _dimension_makes_sense,
    )


SEGMENTS = Fields(
    "how the trend of each measure is judged, and by what segments are told apart",
    {
        "against": Text("what is compared with: the own usual month, or it as comparable ones moved", AGAINST),
        "bands": Each(
            "one line per measure, in order of priority",
            Fields(
                "thresholds as ratios of the trailing baseline",
                {
                    "measure": Text("what is compared", among=tuple(MEASURE_CODES)),
                    "window": _days("the window compared with its trailing baseline"),
                    "stable": Number("within plus or minus this ratio is stable", 0, 1),
                    "warned": Number("fallen by this ratio or more is warned", 0, 1),
                    "up_floor": Number("from no baseline, at least this much is up", 0, is_whole=True),
                },
                ("measure", "window", "stable", "warned", "up_floor"),
                _band_makes_sense,
            ),
        ),
        "dimensions": Fields(
            "by what segments are told apart; without one, it is not counted", {n: _dimension(n) for n in DIMENSIONS}
        ),
        "bundles": Named("kinds of bundles by the name they are counted under", Each("kinds", Text("a kind"))),
    },
    ("bands",),
    _codes_differ,
)


def _run_makes_sense(value: dict[str, object], steps: Steps) -> Iterator[Fault]:
    first, last = day_of(value.get("first")), day_of(value.get("last"))
    if first is not None and last is not None and first > last:
        yield (*steps, "last"), f"last {last} lies before first {first}"


CALENDAR = Fields(
    "holidays in which habits change",
    {
        "holidays": Each(
            "runs of days",
            Fields(
                "one run of days",
                {
                    "name": Text("its name"),
                    "first": Day("first day"),
                    "last": Day("last day, included"),
                    "markets": Each("markets that keep it; without it all", Text("a market")),
                    "shifts": Fields(
                        "by measure what is left of usual usage on such a day, 1 being all of it",
                        {measure: Number("more than 0", 0.01) for measure in MEASURES},
                    ),
                    "mutes": Each(f"whose warnings are withheld on these days: {_RULES}", Text("a rule or family")),
                },
                ("name", "first", "last"),
                _run_makes_sense,
            ),
        )
    },
    ("holidays",),
)

SIGNAL = Fields(
    "a signal made of others; its name is the file's name without .yaml",
    {
        "unit": Text("its unit, like days"),
        "meaning": Text("what it says, in a few words of English"),
        "expression": Text("SQL over signals and the shared :params; of any kind"),
    },
    ("unit", "meaning", "expression"),
)

CALL_ORDER = Fields(
    "what orders the call list within a severity, and the parts of the base in which a backtest looks at it once more",
    {
        "params": RULE.of["params"],
        "signs": Named("signs of leaving, each counting one: the more hold, the sooner the call", Text(_SQL)),
        "groups": Named("parts of the base; a backtest tells how good the order is within each", Text(_SQL)),
    },
    ("signs",),
)

LIMITS = Fields(
    "how much may be said before somebody is asked, and when a feed is not believed",
    {
        "contact_gap": _days("after an order a subscriber gets no other for so long"),
        "breaker": Fields(
            "a close that would publish more than both is withheld until it is released",
            {
                "share": Number("of a shard's subscribers", 0, 1),
                "least": Number("warnings", 0, is_whole=True),
            },
        ),
        "feed": Fields(
            "a market below this is not judged by rules that take silence for a sign",
            {
                "least_share": Number("of the median of active subscribers on that weekday", 0, 1),
                "least_active": Number("subscribers that median must be of", 1, is_whole=True),
                "weeks": Number("before the day that are compared", 1, 52, is_whole=True),
            },
        ),
    },
)

FORMATS: Mapping[str, Shape] = {
    "rule": RULE,
    "list": LIST,
    "segments": SEGMENTS,
    "calendar": CALENDAR,
    "params": PARAMS,
    "signal": SIGNAL,
    "limits": LIMITS,
    "call_order": CALL_ORDER,
}
