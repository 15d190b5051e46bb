from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.children import ChildError
from benchmarks.instructions import tools
from benchmarks.served import Prepared

#: Programs that behave as the tools do, for a count of 1,000 at the start and 2,000 each.
VALGRIND = """\
#!/bin/sh
for argument in "$@"; do
    case "$argument" in --callgrind-out-file=*) output=${argument#*=} ;; esac
    count=$argument
done
echo ready >&2
read -r line
echo "summary: $((count * 2000))" > "$output.2"
"""
PERF = """\
#!/bin/sh
for argument in "$@"; do
    if [ "$before" = -o ]; then output=$argument; fi
    before=$argument
done
if [ -z "$output" ]; then echo "17,,instructions:u,1,100.00,," >&2; exit; fi
read -r line
echo "$((1000 + argument * 2000)),,instructions:u,1,100.00,," > "$output"
"""
NO_COUNTER = "#!/bin/sh\necho '<not supported>,,instructions:u,0,100.00,,' >&2\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Have these programs alone, by name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))

    def install(**programs: str) -> None:
        for name, text in programs.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    return install


@pytest.fixture
def prepared(tmp_path) -> Prepared:
    folder = tmp_path / "prepared"
    folder.mkdir()
    return Prepared(folder, {"PATH": str(tmp_path / "bin")}, "key")


def test_callgrinds_part_of_the_work_is_counted_each(installed, prepared):
    installed(valgrind=VALGRIND, vgdb="#!/bin/sh\n")
    tool = tools.found()
    assert (tool.name, tool.count("check", prepared)) == ("callgrind", 2000.0)


def test_perfs_start_cancels_out(installed, prepared):
    installed(perf=PERF)
    tool = tools.found()
    assert (tool.name, tool.count("check", prepared)) == ("perf", 2000.0)


def test_nothing_is_left_of_what_was_counted(installed, prepared):
    installed(perf=PERF)
    tools.by_perf("check", prepared)
    assert sorted(path.name for path in prepared.folder.parent.iterdir()) == ["bin", "prepared"]


@pytest.mark.parametrize(
    "programs", [{}, {"valgrind": VALGRIND}, {"perf": NO_COUNTER}, {"perf": "#!/bin/sh\nexit 1\n"}]
)
def test_without_a_tool_that_counts_it_is_said_what_to_install(installed, programs):
    installed(**programs)
    with pytest.raises(tools.NoToolError, match="apt-get install valgrind"):
        tools.found()


@pytest.mark.parametrize("text", ["events: Ir\nsummary: 12\n", "part: 2\ntotals: 12\n"])
def test_callgrinds_total_is_read(text):
    assert tools.total(text) == 12


def test_a_file_without_a_total_is_refused():
    with pytest.raises(ChildError, match="without a total"):
        tools.total("events: Ir\n")


@pytest.mark.parametrize("text", ["", "# started on\n\n", "<not counted>,,instructions:u,0,0.00,,\n"])
def test_a_count_of_nothing_is_refused(text):
    with pytest.raises(ChildError, match="perf counted no instructions"):
        tools.event_count(text)


def test_the_key_is_no_argument_of_the_program(installed, prepared, tmp_path):
    installed(valgrind=VALGRIND.replace("echo ready", f'echo "$@" > {tmp_path}/seen; echo ready'), vgdb="#!/bin/sh\n")
    tools.by_callgrind("check", Prepared(prepared.folder, prepared.environ, "otpk_secret"))
    assert "otpk_secret" not in Path(tmp_path / "seen").read_text()


def test_where_callgrind_cannot_be_told_to_count_it_is_said(installed, prepared):
    installed(valgrind=VALGRIND, vgdb="#!/bin/sh\nexit 1\n")
    with pytest.raises(ChildError, match="vgdb could not tell callgrind to count: CalledProcessError"):
        tools.by_callgrind("check", prepared)


def test_a_mark_that_somebody_else_sets_is_seen(installed, prepared):
    installed(valgrind=VALGRIND + 'echo "summary: 1" > "$output.4"\n', vgdb="#!/bin/sh\n")
    with pytest.raises(ChildError, match="something else calls getppid"):
        tools.by_callgrind("check", prepared)
