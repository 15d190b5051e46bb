from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from benchmarks.children import Child, ChildError, Memory, cpu_seconds, memory, program, texts


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def child(folder: Path, script: str, **options) -> Child:
    return Child("child", [sys.executable, "-c", script], folder, **options)


def test_cpu_time_is_user_and_system_time_of_the_process():
    ticks = os.sysconf("SC_CLK_TCK")
    fields = " ".join(str(number) for number in range(3, 53))
    assert cpu_seconds(f"17 (python) {fields}") == (14 + 15) / ticks


def test_a_name_with_spaces_and_parentheses_moves_no_field():
    fields = " ".join(str(number) for number in range(3, 53))
    assert cpu_seconds(f"17 (a) b (c) {fields}") == cpu_seconds(f"17 (x) {fields}")


def test_memory_is_told_in_mebibytes():
    status = "Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t   3072 kB\nVmRSS:\t   2048 kB\nThreads:\t1\n"
    assert memory(status) == Memory(resident=2.0, peak=3.0)


def test_our_own_process_can_be_read():
    assert memory(Path("/proc/self/status").read_text()).peak > 1


def test_what_a_child_starts_is_counted_with_it(tmp_path):
    # Each of the two holds 40 MiB and has used 0.1 s, which is told in hundredths.
    busy = "import sys, time\nheld = b'x' * 40_000_000\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\n"
    alone = f"{busy}sys.stdin.read()"
    both = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {alone!r}])\n{alone}"
    with child(tmp_path, both) as parent:
        assert [parent.line(10), parent.line(10)] == ["1", "1"]
        assert parent.cpu >= 0.16
        assert parent.memory.resident >= 80


def test_a_process_that_has_ended_has_nothing_to_tell():
    # Beyond the highest number a process can have (proc(5), pid_max).
    assert list(texts(2**22 + 1, "stat")) == []


def test_a_program_is_run_by_this_interpreter():
    assert program("load", 80, "--count", 3) == [sys.executable, "-m", "benchmarks.load", "80", "--count", "3"]


def test_a_child_is_read_line_by_line_and_told_lines(tmp_path):
    script = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    with child(tmp_path, script) as echo:
        first = echo.line(10)
        echo.tell("one")
        assert [first, echo.line(10)] == ["ready", "ONE"]


def test_a_child_ends_with_its_block_whatever_happens(tmp_path):
    sleeper = child(tmp_path, "import time\ntime.sleep(60)")
    assert alive(sleeper.pid)
    with contextlib.suppress(KeyboardInterrupt), sleeper:
        raise KeyboardInterrupt
    assert not alive(sleeper.pid)


def test_a_child_that_ignores_the_request_is_killed(tmp_path):
    script = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(60)"
    with child(tmp_path, script) as stubborn:
        stubborn.line(10)
        stubborn.stop(grace=0.05)
        assert not alive(stubborn.pid)


def test_a_child_that_ends_early_is_told_with_what_it_said(tmp_path):
    with (
        child(tmp_path, "raise SystemExit('the disk is full')") as broken,
        pytest.raises(ChildError, match="child ended:\nthe disk is full"),
    ):
        broken.line(10)


def test_a_child_that_says_nothing_is_not_waited_for_longer(tmp_path):
    with (
        child(tmp_path, "import time\ntime.sleep(60)") as silent,
        pytest.raises(ChildError, match=r"child said nothing for 0\.05 s"),
    ):
        silent.line(0.05)


def test_a_failure_of_a_child_is_not_taken_for_its_end(tmp_path):
    with child(tmp_path, "raise SystemExit(3)") as broken, pytest.raises(ChildError, match="child ended with 3"):
        broken.wait(10)


def test_a_line_of_standard_error_is_found_by_its_start(tmp_path):
    script = "import sys, time\nprint('warning', file=sys.stderr)\nprint('serves on 80', file=sys.stderr, flush=True)\ntime.sleep(60)"
    with child(tmp_path, script, logged=True) as server:
        assert server.error_line("serves on", 10) == "serves on 80"
