"""Rules folders for tests: a sound rule to spoil, and a folder from file contents."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import polars as pl

from service.core.signals import catalogue

SIGNALS: Mapping[str, pl.DataType] = {name: signal.domain for name, signal in catalogue().items()}
STORED: Mapping[str, pl.DataType] = {name: signal.dtype for name, signal in catalogue().items()}

RULE = dedent("""\
    version: 1
    owner: retention
    status: stable
    kind: risk
    params: {drop: 0.3}
    when: spend_30d_drop >= :drop
    clear_when: spend_30d_drop < 0.2
    severity:
      default: notice
      critical: days_silent >= 14
    measure: spend
    window: 30d
    why:
      en: Spend fell by {spend_30d_drop:percent}.
      zh: 消费下降 {spend_30d_drop:percent}。
    avoid: {en: Say nothing., zh: 不要说。}
    runbook: Look.
    offer: {campaign: 3-1-0-1, name: {en: Gift, zh: 赠送}}
    orders:
      - channel: call
        when: severity <> 'notice' AND manager IS NULL
      - channel: sms
    """)

ON_RULE = RULE.replace("clear_when: spend_30d_drop < 0.2", "on: [quota, recharge]").replace(
    "window: 30d", "keep_for: 14d"
)


def make_folder(where: Path, files: Mapping[str, str]) -> Path:
    """A rules folder with these files (path below it -> content)."""
    for file, content in files.items():
        path = where / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(content), encoding="utf-8")
    return where
