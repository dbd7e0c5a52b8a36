"""The commands `topics create` and `topics check`: the topics on the broker, as the service needs them."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.app import specs_of
from service.commands.console import NO, fail, finish
from service.commands.context import read_settings
from service.kafka.connection import BrokerMissing
from service.kafka.topics import TopicProblem, check_topics, create_topics

topics = typer.Typer(help="Make and check the topics on the broker.", no_args_is_help=True)

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="Settings file; CHURN_SETTINGS_FILE if absent.")
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


@topics.command()
def create(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Make the topics that are missing, with the configuration each needs; those that are there stay as they are.

    Example: CHURN_TOPICS__PARTITIONS=24 churn-warning topics create
    """
    settings = read_settings(settings_file)
    try:
        made = asyncio.run(create_topics(settings.kafka, specs_of(settings), settings.topics.replication))
    except (BrokerMissing, TopicProblem) as error:
        fail(str(error))
    finish({"made": made}, f"Made {', '.join(made)}." if made else "All topics are there.", as_json=json_output)


@topics.command()
def check(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Say what is missing or unfit, with the remedy; status 1 if anything is.

    Example: churn-warning topics check
    """
    settings = read_settings(settings_file)
    try:
        problems = asyncio.run(check_topics(settings.kafka, specs_of(settings)))
    except BrokerMissing as error:
        fail(str(error))
    finish({"problems": problems}, "\n".join(problems) or "All topics are as they must be.", as_json=json_output)
    if problems:
        raise typer.Exit(NO)
