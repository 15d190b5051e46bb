"""The shape of the code: who may import whom, what may stand where. Each failure names file and line.

Imports inside functions and under ``TYPE_CHECKING`` count: a cycle hidden there is still a cycle.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Who may import whom: from top to bottom. A module belongs to the longest name here that it starts with, and imports
#: its own rank only within its own name, and anything below.
RANKS: tuple[tuple[str, ...], ...] = (
    ("gateway.__main__",),
    ("gateway.cli",),
    ("gateway.serving",),
    ("gateway.app",),
    ("gateway.api", "gateway.sandbox"),
    (
        "gateway.verification",
        "gateway.conversation",
        "gateway.webhooks",
        "gateway.housekeeping",
        "gateway.diagnosis",
        "gateway.delivery.dispatching.dispatcher",
    ),
    ("gateway.delivery",),
    ("gateway.events",),
    ("gateway.storage",),
    (
        "gateway.config",
        "gateway.errors",
        "gateway.phrases",
        "gateway.clock",
        "gateway.durable",
        "gateway.randomness",
        "gateway.rhythm",
        "gateway.signals",
        "gateway.value",
        "gateway.delivery.lifecycle",
        "gateway.delivery.retry",
        "gateway.verification.codes",
    ),
    ("channels",),
)

#: What an adapter is made of; the leaves may import each other.
LEAVES = (
    "channels.base",
    "channels.chat",
    "channels.callback",
    "channels.kinds",
    "channels.numbering",
    "channels.http",
    "channels.http_answer",
    "channels.http_asking",
    "channels.http_errors",
    "channels.http_pool",
    "channels.http_request",
    "channels.exchange",
    "channels.reaching",
    "channels.findings",
    "channels.segments",
    "channels.mime",
    "channels.smtp",
    "channels.smtp_answers",
    "channels.smtp_asking",
    "channels.dsn",
    "channels.polling",
    "channels.twilio_account",
    "channels.twilio_codes",
    "channels.wire",
    "channels.bot_api",
    "channels.bot_asking",
    "channels.updates",
)
#: The shipped channels' names. Outside their own files, only the sandbox and the demo that is built on it know them.
CHANNEL_NAMES = {"sms", "email", "telegram", "console"}
#: Where such a word means something else.
OTHER_MEANINGS = {
    ("gateway.api.examples", "sms"),  # the examples of the API's documentation
    ("gateway.api.examples", "email"),
    ("gateway.api.shapes", "email"),  # the same, and an address kind
    ("gateway.api.intake", "email"),  # the address kind of a plain string with an @
    ("gateway.verification.addressee", "email"),  # the address kind that a text with an @ is meant to be
    ("gateway.config.settings", "console"),  # a format of the log
    ("gateway.events.log", "console"),
    ("gateway.events.records", "telegram"),  # the logger of a library
}
#: The queue and its parts: what was heard of a message after it was sent, and what comes after it.
MOVERS = {f"gateway.delivery.{name}" for name in ("births", "queue", "receipts", "standing", "succession")}
MAX_LINES = 400
MAX_FUNCTION = 60
#: A migration is a list of what is created, as long as the schema.
MIGRATIONS = "gateway/storage/migrations/versions/"


def sources() -> list[Path]:
    return sorted(path for package in ("gateway", "channels") for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


MODULES = {name_of(path): path for path in sources()}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All that a file is made of; to walk it takes as long as to parse it."""
    return list(ast.walk(tree(path)))


@cache
def imports(path: Path) -> list[tuple[ast.AST, str]]:
    """Every module of ours that a file imports, with the node that does."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path, node)}: a relative import"
            base = node.module or ""
            found = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        else:
            continue
        for name in found:
            if name.partition(".")[0] in ("gateway", "channels"):
                yield node, name


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@cache
def group(name: str) -> tuple[int, str]:
    """The rank of a module, 0 at the top, and the name it has it by."""
    groups = [(rank, item) for rank, names in enumerate(RANKS) for item in names if within(name, item)]
    return max(groups, key=lambda found: len(found[1]))


def strings(path: Path) -> Iterator[ast.Constant]:
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_has_a_rank():
    unranked = [name for name in MODULES if name != "gateway" and not any(within(name, n) for r in RANKS for n in r)]
    assert unranked == []


def test_imports_go_down():
    wrong = []
    for name, path in MODULES.items():
        if name == "gateway":
            continue
        rank, own = group(name)
        for node, imported in imports(path):
            if imported == "gateway":
                continue
            below, other = group(imported)
            if below < rank or (below == rank and other != own and rank != len(RANKS) - 2):
                wrong.append(f"{place(path, node)}: {name} imports {imported}")
    assert wrong == []


def test_verification_and_conversation_do_not_know_each_other():
    pairs = [("gateway.verification", "gateway.conversation"), ("gateway.conversation", "gateway.verification")]
    wrong = [
        place(path, node)
        for one, other in pairs
        for name, path in MODULES.items()
        for node, imported in imports(path)
        if within(name, one) and within(imported, other)
    ]
    assert wrong == []


def test_channels_do_not_import_the_gateway():
    wrong = [
        f"{place(path, node)}: {imported}"
        for name, path in MODULES.items()
        for node, imported in imports(path)
        if within(name, "channels") and within(imported, "gateway")
    ]
    assert wrong == []


def test_adapters_import_the_leaves_only():
    wrong = [
        f"{place(path, node)}: {imported}"
        for name, path in MODULES.items()
        for node, imported in imports(path)
        if within(name, "channels") and imported not in LEAVES
    ]
    assert wrong == []


def test_the_gateway_imports_no_adapter():
    wrong = [
        f"{place(path, node)}: {imported}"
        for name, path in MODULES.items()
        for node, imported in imports(path)
        if within(name, "gateway")
        and not within(name, "gateway.sandbox")
        and within(imported, "channels")
        and imported not in LEAVES
    ]
    assert wrong == []


def test_there_are_no_cycles():
    edges = {
        name: {imported for _, imported in imports(path)} & MODULES.keys() - {name} for name, path in MODULES.items()
    }
    # What imports nothing that is left is no part of a cycle; what remains in the end is.
    left = dict(edges)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert sorted(left) == []


def test_no_code_outside_the_sandbox_knows_a_channel_by_name():
    found = {
        (name, str(node.value)): place(path, node)
        for name, path in MODULES.items()
        for node in strings(path)
        if within(name, "gateway")
        and not within(name, "gateway.sandbox")
        and name not in {"gateway.cli.demonstrating", "gateway.cli.sandboxing"}
        and node.value in CHANNEL_NAMES
    }
    assert {meaning: where for meaning, where in found.items() if meaning not in OTHER_MEANINGS} == {}
    assert OTHER_MEANINGS - found.keys() == set()


def test_no_module_is_too_long():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_function_is_too_long():
    wrong = []
    for path in sources():
        if str(path.relative_to(ROOT)).startswith(MIGRATIONS):
            continue
        for function in functions(path):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > MAX_FUNCTION:
                wrong.append(f"{place(path, function)}: {function.name} has {length} lines")
    assert wrong == []


def test_every_part_is_on_the_map():
    drawn = set(re.findall(r"``(\w+)``", ast.get_docstring(tree(ROOT / "gateway/__init__.py")) or ""))
    parts = {name.split(".")[1] for name in MODULES if name.startswith("gateway.")} - {"__main__"}
    assert parts - drawn == set()
    assert drawn - parts == set()


@pytest.mark.parametrize("word", ["util", "helper", "manager", "common", "misc"])
def test_modules_are_named_for_what_they_do(word):
    assert [name for name in MODULES if word in name.rpartition(".")[2]] == []


def test_every_module_says_what_it_is_for():
    assert [str(path.relative_to(ROOT)) for path in sources() if not ast.get_docstring(tree(path))] == []


def test_every_module_reads_its_annotations_late():
    wrong = []
    for path in sources():
        body = [node for node in tree(path).body if not isinstance(node, ast.Expr)]
        if any(functions(path)) and not (isinstance(body[0], ast.ImportFrom) and body[0].module == "__future__"):
            wrong.append(place(path, body[0]))
    assert wrong == []


@pytest.mark.parametrize(
    ("table", "writer"),
    [
        ("message", "gateway.delivery.statements"),
        ("verification", "gateway.verification.statements"),
        ("subscriber", "gateway.conversation.statements"),
        ("webhook", "gateway.webhooks.rows"),
        ("authenticator", "gateway.verification.authenticators.statements"),
    ],
)
def test_a_status_has_one_writing_module(table, writer):
    sets_status = re.compile(rf"UPDATE\s+{table}\s+SET\b(?:(?!\bWHERE\b).)*\bstatus\s*=", re.DOTALL)
    writers = {name for name, path in MODULES.items() for node in strings_joined(path) if sets_status.search(node)}
    assert writers == {writer}


@cache
def strings_joined(path: Path) -> list[str]:
    """Every string of a file, the literal parts of an f-string together."""
    return list(_strings_joined(path))


def _strings_joined(path: Path) -> Iterator[str]:
    inside: set[int] = set()
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            inside.update(id(part) for part in node.values)
            yield "?".join(str(part) for part in parts)
    yield from (str(node.value) for node in strings(path) if id(node) not in inside)


def test_only_the_queue_runs_the_statements_that_move_messages():
    wrong = [
        f"{place(path, node)}: {imported}"
        for name, path in MODULES.items()
        for node, imported in imports(path)
        if imported == "gateway.delivery.statements" and name not in MOVERS
    ]
    assert wrong == []


def test_nothing_is_printed_but_by_the_command_line_and_the_console_channel():
    wrong = [
        place(path, node)
        for name, path in MODULES.items()
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not within(name, "gateway.cli")
        and name != "channels.console"
    ]
    assert wrong == []


def test_every_channel_has_its_templates_and_its_tests():
    adapters = {name.rpartition(".")[2] for name in MODULES if within(name, "channels") and name not in LEAVES}
    for adapter in adapters - {"channels"}:
        assert (ROOT / "templates" / adapter / "verification").is_dir(), adapter
        assert (ROOT / "tests" / "channels" / f"test_{adapter}.py").is_file(), adapter


def test_the_tests_mirror_the_tree_without_packages():
    assert [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py")] == []
