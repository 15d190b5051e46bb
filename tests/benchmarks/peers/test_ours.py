from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.children import Child
from benchmarks.peers.loads import kept_mails
from benchmarks.peers.ours import Ours
from benchmarks.served import Prepared, Served

STAND_IN = Path(__file__).with_name("stand_in.py")


def test_every_code_that_was_mailed_is_checked(tmp_path):
    ours = Ours(tmp_path, Prepared(tmp_path, {}, "key"), 20.0, checks=5)
    with kept_mails(tmp_path) as kept:
        command = [sys.executable, str(STAND_IN), str(kept.port)]
        with Child("gateway", command, tmp_path) as child:
            # A code that was missing, or wrong, would end it with an error.
            assert ours.taken(Served(child, int(child.line(30.0)), "key"), kept) > 0
