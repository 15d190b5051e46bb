"""The command line, ``otp-gateway``: one module a group of verbs."""

from __future__ import annotations

import typer

from gateway.cli.config import check_config
from gateway.cli.demo import demo
from gateway.cli.keys import app as keys
from gateway.cli.logs import logs
from gateway.cli.serve import migrate, serve
from gateway.cli.templates import app as templates

app = typer.Typer(
    name="otp-gateway",
    help="A self-hosted gateway that sends one-time codes by SMS, e-mail or a Telegram bot, and checks them.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables could print a code or a key.
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(serve)
app.command()(migrate)
app.command("check-config")(check_config)
app.add_typer(keys, name="keys")
app.command()(logs)
app.add_typer(templates, name="templates")


def main() -> None:
    """Run the command line."""
    app(prog_name="otp-gateway")
