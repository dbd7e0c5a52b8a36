"""The commands of churn-warning."""

from importlib.metadata import version
from typing import Annotated

import typer

from service.commands.calibrate import calibrate
from service.commands.dead_letters import dead_letters
from service.commands.demo import demo
from service.commands.diff import diff
from service.commands.explain import explain
from service.commands.past import backtest, bootstrap, windows
from service.commands.replay import replay
from service.commands.rulebooks import publish, release, versions
from service.commands.rules import rules
from service.commands.ruletests import run_tests
from service.commands.run import run
from service.commands.segments import segments
from service.commands.settings import settings
from service.commands.signals import signals
from service.commands.simulate import simulate
from service.commands.snapshot import snapshot
from service.commands.topics import topics


def _tell_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"churn-warning {version('churn-warning')}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def with_version(
    *,
    version_: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Churn warnings for mobile operators: exact rolling windows over Kafka, every case pushed once."""
    del version_  # its callback has told it


app.command()(demo)
app.command()(run)
app.command()(replay)
app.command()(simulate)
app.command()(bootstrap)
app.command()(windows)
app.command()(segments)
app.command()(settings)
rules.command()(signals)
rules.command("test")(run_tests)
rules.command()(backtest)
rules.command()(calibrate)
rules.command()(diff)
rules.command()(explain)
rules.command()(publish)
rules.command()(versions)
rules.command()(release)
app.add_typer(rules, name="rules")
app.add_typer(topics, name="topics")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(snapshot, name="snapshot")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
