"""How every verb runs: on uvloop, with faults told on standard error and the right exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from gateway.cli.faults import tell
from gateway.errors import ConfigError, GatewayError
from gateway.events import trace

#: Exit codes: something went wrong; the configuration or the command line is wrong.
FAILED, MISUSED = 1, 2


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run an async verb to its end."""
    with told(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(work)
        except KeyboardInterrupt:
            return


@contextmanager
def told() -> Iterator[None]:
    """Tell faults as sentences, one a line, and exit: 2 for the configuration or the command line, 1 for anything else."""
    try:
        yield
    except ConfigError as error:
        tell(str(error))
        if error.read_from:
            typer.echo(f"Read from the environment and {error.read_from}", err=True)
        raise typer.Exit(MISUSED) from None
    except GatewayError as error:
        tell(str(error))
        raise typer.Exit(FAILED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the interpreter would print its text, which may hold a code or a key
        tell(f"a fault of ours, please report it: {trace.told(error)}")
        for place in trace.frames(error):
            typer.echo(f"  at {place}", err=True)
        raise typer.Exit(FAILED) from None


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    import uvloop  # not installed on Windows

    return uvloop.new_event_loop
