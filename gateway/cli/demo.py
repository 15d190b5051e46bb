"""``otp-gateway demo``: the whole main job without any account, on this machine alone."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.running import run

_PORT = 8080


def demo(
    port: Annotated[int, typer.Option(help="Where to serve; a free port where this one is taken.")] = _PORT,
    *,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first round instead of serving on.")] = False,
) -> None:
    """Run the server with a local sandbox of real protocol servers, and send one code by each channel."""
    # The sandbox, with aiohttp, costs every other verb 0.1 s and 10 MiB.
    from gateway.cli.demonstrating import demonstrate

    run(demonstrate(port, once=once))
