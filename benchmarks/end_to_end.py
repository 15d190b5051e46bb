"""From the first request to the last mail in the sink, and CPU per mail, beside a bare SMTP loop."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.accepts import load, sink
from benchmarks.carrying import Carrying
from benchmarks.figures import Target, again
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import EVERY, Arm, Part, Scale, Stage
from benchmarks.report import Section, compared
from benchmarks.rounds import Samples
from benchmarks.served import PATIENCE, Prepared, serving

YARDSTICK, GATEWAY = "bare aiosmtplib loop", "gateway, SQLite"
AGAIN = again(YARDSTICK)
#: Of the yardstick's rate, and of its CPU time.
RATE = Target(0.50, at_least=True, aim=0.75)
CPU = Target(2.2, at_least=False, aim=1.5)


def sample_mail(folder: Path, prepared: Prepared) -> Path:
    """Have the gateway send one mail and return the file its bytes are in."""
    path = folder / "mail"
    with sink(folder) as (child, port), serving(prepared, sink=port) as served:
        load(folder, served.port, "--key", served.key, "--count", 1, within=PATIENCE)
        child.tell("wait 1")
        child.line(PATIENCE)
        child.tell("sample")
        path.write_bytes(base64.b64decode(json.loads(child.line(PATIENCE))))
    return path


def sent(samples: Samples, mails: int) -> Section:
    """Return mails per second."""
    return Section(
        "End to end",
        f"{mails:,} verifications posted with 32 connections, timed from the first request until the last mail is in the "
        "sink. The yardstick is aiosmtplib alone: `sendmail()` of the very bytes the gateway made, over 16 connections "
        "kept open, into the same sink; the gateway may use as many (and renews each after 100 mails, its default).",
        "mails/s",
        compared(samples, "rate", YARDSTICK, {GATEWAY: RATE}),
    )


def cpu(samples: Samples) -> Section:
    """Return CPU time per mail."""
    return Section(
        "CPU per mail",
        "User and system time in the end-to-end run: for the gateway all of it and of all its processes, from the request "
        "to the settled row; for the yardstick the sending alone.",
        "ms/mail",
        compared(samples, "cpu", YARDSTICK, {GATEWAY: CPU}, scale=1000.0),
    )


def _arms(stage: Stage) -> Mapping[str, Arm]:
    content = sample_mail(stage.folder, stage.sqlite)
    mails = Carrying(stage.folder, stage.sqlite, content, stage.scale.mails, mail_sink, "bare_mail")
    return {YARDSTICK: mails.bare, GATEWAY: mails.gateway, AGAIN: mails.bare}


def _sections(samples: Samples, scale: Scale) -> Sequence[Section]:
    return sent(samples, scale.mails), cpu(samples)


PART = Part("end to end", _arms, _sections, weight=90, extents=EVERY)
