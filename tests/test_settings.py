"""Settings from environment and file; what is wrong ends the start with a sentence that names where and what to do."""

from pathlib import Path

import pytest

from service.app import config_of
from service.core.rules import Rulebook
from service.settings import Settings, SettingsError, entries, load


def refusal(environ: dict[str, str], file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(environ, file)
    return str(raised.value).splitlines()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def test_nothing_given_means_the_defaults() -> None:
    assert load({}) == Settings()


def test_every_setting_can_be_given_by_its_variable() -> None:
    given = {entry.variable: entry.default for entry in entries() if entry.default and entry.default != "********"}
    assert len(given) > 35
    assert load(given) == Settings()


def test_variables_overrule_the_file(file: Path) -> None:
    file.write_text("http:\n  port: 1\n  host: a.example\ntime:\n  late_days_by_type: {charge: 40}\n")
    settings = load({"CHURN_SETTINGS_FILE": str(file), "CHURN_HTTP__PORT": "2"})
    assert (settings.http.port, settings.http.host) == (2, "a.example")
    assert settings.time.late_days_by_type == {"charge": 40}


def test_a_file_named_by_hand_stands_in_for_the_one_of_the_variable(file: Path) -> None:
    file.write_text("http: {port: 1}\n")
    assert load({"CHURN_SETTINGS_FILE": "absent.yaml"}, file).http.port == 1


def test_lists_and_pairs_are_written_plainly_in_variables() -> None:
    settings = load({"CHURN_TIME__WINDOWS_DAYS": "1, 30", "CHURN_TIME__LATE_DAYS_BY_TYPE": "charge=40,bill.closed=60"})
    assert settings.time.windows_days == (1, 30)
    assert settings.time.late_days_by_type == {"charge": 40, "bill.closed": 60}


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"CHURN_HTTP__PORT": "abc"},
            "CHURN_HTTP__PORT is 'abc', but must be a whole number: change it, or leave it out for 8080",
        ),
        (
            {"CHURN_HTTP__PORT": "99999"},
            "CHURN_HTTP__PORT is '99999', but must be at most 65535: change it, or leave it out for 8080",
        ),
        (
            {"CHURN_KAFKA__PARTITIONER": "mumur"},
            (
                "CHURN_KAFKA__PARTITIONER is 'mumur', but must be 'murmur2', 'crc32' or 'any': "
                "change it, or leave it out for murmur2"
            ),
        ),
        (
            {"CHURN_TIME__ZONE": "Asia/Shanghi"},
            (
                "CHURN_TIME__ZONE is 'Asia/Shanghi', but must be a time zone of the IANA database, "
                "such as Asia/Shanghai: "
                "change it, or leave it out for UTC"
            ),
        ),
        (
            {"CHURN_TIME__WINDOWS_DAYS": "30,1"},
            (
                "CHURN_TIME__WINDOWS_DAYS is '30,1', but must be rising numbers of days, such as 1,7,30: "
                "change it, or leave it out for 1,7,14,30,60,90"
            ),
        ),
        (
            {"CHURN_TIME__LATE_DAYS_BY_TYPE": "charge"},
            (
                "CHURN_TIME__LATE_DAYS_BY_TYPE is 'charge', but must be pairs such as charge=40,bill.closed=60: "
                "change it, or leave it out"
            ),
        ),
        (
            {"CHURN_KAFKA__BOOTSTRAP_SERVER": "a:1"},
            (
                "There is no setting CHURN_KAFKA__BOOTSTRAP_SERVER (did you mean CHURN_KAFKA__BOOTSTRAP_SERVERS?): "
                "correct or remove it"
            ),
        ),
        (
            {"CHURN_KAFKA__SECURITY_PROTOCOL": "SASL_SSL"},
            (
                "CHURN_KAFKA__SECURITY_PROTOCOL SASL_SSL needs CHURN_KAFKA__SASL_USERNAME and "
                "CHURN_KAFKA__SASL_PASSWORD (or in the file, under kafka)"
            ),
        ),
        (
            {"CHURN_KAFKA__SESSION_TIMEOUT_MS": "3000"},
            (
                "CHURN_KAFKA__HEARTBEAT_INTERVAL_MS must be at most half of CHURN_KAFKA__SESSION_TIMEOUT_MS "
                "(or in the file, under kafka)"
            ),
        ),
    ],
)
def test_a_bad_variable_is_named_with_its_remedy(environ: dict[str, str], sentence: str) -> None:
    assert refusal(environ) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "kafka: {}\nhttp:\n  port: abc\n",
            "{file}:3: http.port is 'abc', but must be a whole number: change it, or leave it out for 8080",
        ),
        ("http:\n  prot: 1\n", "{file}:2: http.prot is no setting (did you mean port?): correct or remove it"),
        ("htp:\n  port: 1\n", "{file}:1: there is no section htp (did you mean http?): correct or remove it"),
        ("http: 8080\n", "{file}:1: http is a section: put its settings below it, indented"),
        ("- http\n", "{file}:1: a settings file holds sections, such as `http:`, with settings below them"),
        (
            "http:\n  port: 1\n  port: 2\n",
            (
                '{file}:3: found duplicate key "port" with value "2" (original value: "1"): '
                "write sections with settings below them, as in `http:` and `  port: 8080`"
            ),
        ),
    ],
)
def test_a_bad_file_is_named_with_its_line(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    assert refusal({}, file) == [sentence.format(file=file)]


def test_a_missing_file_is_named_with_the_variable_that_asked_for_it() -> None:
    [sentence] = refusal({"CHURN_SETTINGS_FILE": "absent.yaml"})
    assert sentence.startswith("CHURN_SETTINGS_FILE: the settings file absent.yaml cannot be read (No such file")


def test_all_that_is_wrong_is_said_at_once(file: Path) -> None:
    file.write_text("http:\n  prot: 1\nlog:\n  level: loud\n")
    assert len(refusal({"CHURN_HTTP__PORT": "x", "CHURN_NOTHING": ""}, file)) == 4


def test_secrets_are_never_shown() -> None:
    settings = load({"CHURN_KAFKA__SASL_PASSWORD": "geheim"})
    assert "geheim" not in repr(settings) + repr(entries(settings))
    refused = refusal({"CHURN_KAFKA__SASL_PASSWORD": "geheim", "CHURN_KAFKA__SASL_MECHANISM": "X"})
    assert "geheim" not in " ".join(refused)


def test_the_names_of_tests_and_scripts_are_let_be() -> None:
    assert load({"CHURN_TEST_DATA": "x", "CHURN_PYTHON": "y"}) == Settings()


def test_every_setting_says_what_it_means() -> None:
    assert [entry.name for entry in entries() if len(entry.meaning) < 10] == []


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("CHURN_SNAPSHOTS__EVERY_MINUTES", "1" + "0" * 400, "must be at most 525600"),
        ("CHURN_SNAPSHOTS__FOLDER", "a\0b", "must not hold the character NUL"),
        ("CHURN_HTTP__HOST", "a\0b", "must"),
        ("CHURN_HTTP__HOST", "é..b", "must be a host's name or address, such as 127.0.0.1"),
        ("CHURN_RULES__FOLDER", "a" * 300, "must not have a part longer than 255 bytes"),
        ("CHURN_KAFKA__FETCH_BYTES", "99999999999", "must be at most 2147483647"),
        ("CHURN_KAFKA__FETCH_PARTITION_BYTES", "99999999999", "must be at most 2147483647"),
        ("CHURN_KAFKA__TRANSACTION_TIMEOUT_MS", "3600000", "must be at most 900000"),
        ("CHURN_TIME__ZONE", "localtime", "must be a time zone"),
        ("CHURN_TIME__ZONE", "right/UTC", "must be a time zone"),
        ("CHURN_TIME__ZONE", "Factory", "must be a time zone"),
    ],
)
def test_what_no_run_bears_is_refused_when_it_is_read(variable: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as error:
        load({variable: value})
    assert str(error.value).startswith(f"{variable} is ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time:\n  <<: {zone: UTC}\n", r":2: merge keys \(<<\) are not read"),
        ("<<: {time: {zone: UTC}}\n", r":1: merge keys \(<<\) are not read"),
        ("time: &t\n  late_days: *t\n", ":1: anchors and aliases"),
        ("[" * 3000, ":1: nested more than 32 deep"),
    ],
)
def test_a_file_that_means_more_than_it_says_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SettingsError, match=problem):
        load({}, tmp_path / "s.yaml")


def test_a_secret_is_taken_without_its_line_break_and_an_empty_one_is_none() -> None:
    told = load({"CHURN_HTTP__PEER_TOKEN": "sixteen or longer\n"}).http.peer_token
    assert told is not None
    assert told.get_secret_value() == "sixteen or longer"
    assert load({"CHURN_HTTP__PEER_TOKEN": ""}).http.peer_token is None
    for bad in ("short", "ümläutümläutümläut"):
        [line] = refusal({"CHURN_HTTP__PEER_TOKEN": bad})
        assert "must be at least 16 characters of plain ASCII" in line
        assert bad not in line


def test_what_the_core_needs_to_know_is_what_the_settings_say() -> None:
    config = config_of(load({"CHURN_TOPICS__PARTITIONS": "7", "CHURN_RULES__FEED_GATE": "false"}), Rulebook("none", ()))
    assert (config.partitions, config.feed_gate) == (7, False)
    assert config_of(Settings(), Rulebook("none", ())).feed_gate
