"""A profile that cannot be used says where and why."""

from pathlib import Path

import pytest

from service.city.profile import ProfileError, load_profile
from tests.city.towns import PROFILES

GOOD = (PROFILES / "demo.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("zone: Asia/Shanghai", "zone: Asia/Atlantis", r":4: zone: .*'Asia/Atlantis' is not a time zone"),
        ("joining: 2 ", "joining: many ", r": joining: .*number"),
        ("joining: 2 ", "joyning: 2 ", r": joyning: Extra inputs"),
        ("  voice: [6, 10, 15]", "  voice: [7, 10, 15]", r"record_every_days: .*divide thirty days, and \[7\] do not"),
        ("  goes_silent: {share: 0.5", "  goes_wild: {share: 0.5", r"fates: .*unknown fates \['goes_wild'\]"),
        ("  declines: {share: 3", "  declines: {share: 95", r"fates: .*together exceed 100"),
        ("  sms: {granted: 82", "  sms: {granted: 182", r"consent.sms.granted: .*100"),
        ("noise: {voice:", "noise: {speech:", r"noise must name"),
        ("swing: {voice:", "swing: {talk:", r"swing must name"),
        ("  dips: {spend:", "  dips: {talk:", r"courses.dips must name"),
        ("    voice: [3, 16,", "    voice: [19,", r"segment everybody needs 7 shares of voice"),
        ("  voice: [0, 60, 160", "  voice: [0, 160, 60", r": tiers: .*the bounds of voice must ascend"),
        ("{any: 57.4,", "{any: 87.4,", r": segments.everybody.bundles: .*at most both together"),
        ("vpn: 15.5}", "vpn: 65.5}", r": segments.everybody.bundles: .*none is more than soft"),
        ("    share: 100\n", "    share: 100\n    of_markets: {moon: 3}\n", r"names unknown markets \['moon'\]"),
        (
            "outages: []",
            "outages: [{market: moon, first: 2026-08-01, days: 2}]",
            r"outages of unknown markets \['moon'\]",
        ),
        ("name: demo", "name: [demo", r":\d+: not YAML"),
    ],
)
def test_a_bad_profile_is_one_sentence_with_file_and_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ProfileError, match=said) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}:")


def test_the_line_is_that_of_the_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("fee_minor: 2900", "fee_minor: free"), encoding="utf-8")
    line = next(n for n, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if "free" in text)
    with pytest.raises(ProfileError, match=rf":{line}: plans.2.fee_minor: "):
        load_profile(path)


def test_a_missing_profile_names_those_there_are() -> None:
    with pytest.raises(ProfileError, match="there is no such profile; profiles there: city-2013, demo"):
        load_profile(PROFILES / "atlantis.yaml")


def test_a_profile_is_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"list.yaml:1: a profile is a mapping"):
        load_profile(path)


def test_a_segment_cannot_be_smaller_than_its_people_of_some_markets(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    city = (PROFILES / "city-2013.yaml").read_text(encoding="utf-8")
    path.write_text(city.replace("{migrant_worker: 26.22,", "{migrant_worker: 86.22,"), encoding="utf-8")
    with pytest.raises(ProfileError, match="segment lost is smaller than its people of the markets that it names"):
        load_profile(path)
