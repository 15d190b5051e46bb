"""The yardstick of mail: aiosmtplib alone sends bytes made beforehand over connections it keeps open.

The program ``python -m benchmarks.bare_mail PORT FILE --count N [--connections C]`` sends ``FILE`` N times and prints
one line of JSON: when it began (monotonic seconds) and the CPU seconds it used from then on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import aiosmtplib

from benchmarks.bare_loop import cpu, main

SENDER = "codes@example.org"


async def run(port: int, content: bytes, *, count: int, connections: int) -> tuple[float, float]:
    """Send ``content`` that often; return when it began and the CPU seconds used. Raises aiosmtplib's errors."""
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="example.org", start_tls=False)
        for _ in range(connections)
    ]
    for client in clients:
        await client.connect()
        await client.ehlo()
    numbers = iter(range(count))
    began_at, used = time.monotonic(), cpu()
    await asyncio.gather(*(_send(client, content, numbers) for client in clients))
    spent = cpu() - used
    for client in clients:
        client.close()
    return began_at, spent


async def _send(client: aiosmtplib.SMTP, content: bytes, numbers: Iterator[int]) -> None:
    for number in numbers:
        await client.sendmail(SENDER, [f"person-{number}@example.org"], content)


if __name__ == "__main__":
    main(lambda port, content, count, connections: run(port, content, count=count, connections=connections))
