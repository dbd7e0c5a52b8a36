"""Every setting, with its default and its meaning; read once at the start and handed down."""

from service.settings.reading import SETTINGS_FILE, Entry, SettingsError, entries, load
from service.settings.sections import (
    HttpSettings,
    KafkaSettings,
    LogSettings,
    MoneySettings,
    RuleSettings,
    Settings,
    SnapshotSettings,
    TimeSettings,
    TopicSettings,
)

__all__ = [
    "SETTINGS_FILE",
    "Entry",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "MoneySettings",
    "RuleSettings",
    "Settings",
    "SettingsError",
    "SnapshotSettings",
    "TimeSettings",
    "TopicSettings",
    "entries",
    "load",
]
