"""The commands `topics create` and `topics check`: the topics on the broker, as the service needs them."""

import asyncio

import typer

from service.app import specs_of
from service.commands.console import NO, fail, finish
from service.commands.context import AsJson, SettingsFile, read_settings
from service.kafka.connection import BrokerMissing
from service.kafka.topics import TopicProblem, check_topics, create_topics
from service.settings import Settings

topics = typer.Typer(help="Make and check the topics on the broker.", no_args_is_help=True)


@topics.command()
def create(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Make the topics that are missing.

    Each gets the configuration it needs; those that are there stay as they are, and status 1 says that one of them
    does not fit.

    Example: CHURN_TOPICS__PARTITIONS=24 churn-warning topics create
    """
    settings = read_settings(settings_file)
    try:
        made, problems = asyncio.run(_made_and_checked(settings))
    except (BrokerMissing, TopicProblem) as error:
        fail(str(error))
    told = [f"Made {', '.join(made)}."] if made else [] if problems else ["All topics are there, as they must be."]
    finish({"made": made, "problems": problems}, "\n".join([*told, *problems]), as_json=json_output)
    if problems:
        raise typer.Exit(NO)


async def _made_and_checked(settings: Settings) -> tuple[list[str], list[str]]:
    specs = specs_of(settings)
    made = await create_topics(settings.kafka, specs, settings.topics.replication)
    return made, await check_topics(settings.kafka, specs)


@topics.command()
def check(*, settings_file: SettingsFile = None, json_output: AsJson = False) -> None:
    """Say which topics are missing or unfit, and the remedy.

    Status 1 if any is.

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
