"""Why a warning is kept and not published, in words, by language."""

from collections.abc import Mapping

from service.core.calendar import to_date
from service.core.turn import Mute

_WORDS = {
    "experimental": (
        "Its rule is on trial: judged and counted, never published.",
        "规则正在试验。只判断和计数。不发布。",
    ),
    "standing": (
        "It was so before its rule began to judge; somebody may release it.",
        "规则启用前已如此。可人工放行。",
    ),
    "breaker": (
        "That day would have published too much; somebody may release it.",
        "当日预警过多而被拦截。可人工放行。",
    ),
    "cap": ("Its rule has published as many as it may on one day.", "规则当日发布数已达上限。"),
    "rule": ("The subscriber has an open warning of rule {0}.", "该用户已有规则 {0} 的未结预警。"),
    "holiday": ("The calendar mutes its rule: {0}.", "日历「{0}」静默该规则。"),
    "mute": ("It is muted (mute {0}).", "已静默「{0}」。"),
}
_MUTED = ("{0} has muted it until {1}: {2}", "{0} 已静默至 {1}「{2}」")
_LANGUAGES = ("en", "zh")


def in_words(suppressed_by: str | None, mutes: Mapping[str, Mute]) -> dict[str, str]:
    """A sentence by language; empty where nothing withholds the warning. `mutes`: those that are known, by id."""
    if suppressed_by is None:
        return {}
    kind, _, named = suppressed_by.partition(":")
    texts = _WORDS.get(kind, ("{0}", "{0}"))
    values: tuple[str, ...] = (named or kind,)
    if kind == "mute" and (mute := mutes.get(named)) is not None:
        texts, values = _MUTED, (mute.by, str(to_date(mute.until)), mute.why)
    return {language: text.format(*values) for language, text in zip(_LANGUAGES, texts, strict=True)}
