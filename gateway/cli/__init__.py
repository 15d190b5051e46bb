"""The command line, ``otp-gateway``: one module a group of verbs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from gateway.cli.backup import backup
from gateway.cli.config import check_config
from gateway.cli.demo import demo
from gateway.cli.dispatch import dispatch
from gateway.cli.doctor import doctor
from gateway.cli.erase import erase
from gateway.cli.faults import Program
from gateway.cli.generate import generate
from gateway.cli.keys import app as keys
from gateway.cli.logs import logs
from gateway.cli.policy import app as policy
from gateway.cli.send import send
from gateway.cli.serve import migrate, serve
from gateway.cli.stats import stats
from gateway.cli.templates import app as templates
from gateway.cli.unlock import unlock_recipient
from gateway.cli.webhooks import app as webhooks

app = typer.Typer(
    name="otp-gateway",
    cls=Program,
    help="A self-hosted gateway that sends one-time codes by SMS, e-mail or a Telegram bot, and checks them.",
    no_args_is_help=True,
    add_completion=False,
    # Else the lines of a docstring's further paragraphs stay as the source breaks them, and are broken once more.
    rich_markup_mode="markdown",
    # A traceback with local variables could print a code or a key.
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"otp-gateway {version('otp-gateway')}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


app.command()(demo)
app.command()(serve)
app.command()(dispatch)
app.command()(migrate)
app.command("check-config")(check_config)
app.command()(generate)
app.command()(doctor)
app.add_typer(keys, name="keys")
app.command()(send)
app.command()(logs)
app.command()(stats)
app.command("unlock")(unlock_recipient)
app.command()(erase)
app.command()(backup)
app.add_typer(policy, name="policy")
app.add_typer(templates, name="templates")
app.add_typer(webhooks, name="webhooks")


def main() -> None:
    """Run the command line."""
    app(prog_name="otp-gateway")
