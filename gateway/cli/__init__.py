"""The command line, ``otp-gateway``: one module a group of verbs."""

from __future__ import annotations

import typer

from gateway.cli.config import check_config
from gateway.cli.demo import demo
from gateway.cli.dispatch import dispatch
from gateway.cli.keys import app as keys
from gateway.cli.logs import logs
from gateway.cli.serve import migrate, serve
from gateway.cli.stats import stats
from gateway.cli.templates import app as templates
from gateway.cli.webhooks import app as webhooks

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
app.command()(dispatch)
app.command()(migrate)
app.command("check-config")(check_config)
app.add_typer(keys, name="keys")
app.command()(logs)
app.command()(stats)
app.add_typer(templates, name="templates")
app.add_typer(webhooks, name="webhooks")


def main() -> None:
    """Run the command line."""
    app(prog_name="otp-gateway")
