"""The commands of churn-warning."""

import typer

from service.commands.rules import rules
from service.commands.settings import settings
from service.commands.simulate import simulate
from service.commands.topics import topics

app = typer.Typer(
    help="Churn warnings for mobile operators: exact rolling windows over Kafka, every case pushed once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(simulate)
app.command()(settings)
app.add_typer(rules, name="rules")
app.add_typer(topics, name="topics")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
