"""The command line as a program."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc, sys
from gateway.__main__ import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit as ended:
    print(ended.code, gc.isenabled(), gc.get_freeze_count() > 100_000)
    print(sorted({"aiohttp", "gateway.sandbox"} & sys.modules.keys()))
"""


def test_it_is_imported_without_what_few_need_and_garbage_is_collected_after_that():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-2:] == ["0 True True", "[]"]
