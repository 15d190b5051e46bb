"""Mutations: a guard is taken out of a copy of the sources, and the tests that watch it must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.guards import MUTATIONS
from tests.faults.mutation import Mutation, StaleMutationError, Verdict, mutated

ROOT = Path(__file__).parents[2]
#: What a run of tests needs of the tree.
COPIED = (
    "gateway",
    "channels",
    "templates",
    "tests",
    "benchmarks",
    "config.toml",
    "pyproject.toml",
    "docs",
    "README.md",
)
#: Seconds the tests of one mutation may take.
PATIENCE = 300.0
#: pytest's exit codes: some tests failed.
FAILED = 1


def stale(root: Path = ROOT) -> list[str]:
    """Return what is wrong with the list of mutations itself; empty where each would apply."""
    found = []
    for mutation in MUTATIONS:
        try:
            mutated((root / mutation.file).read_text("utf-8"), mutation)
        except (StaleMutationError, OSError) as error:
            found.append(str(error))
        found += [
            f"{mutation.guard}: there is no {test}"
            for test in mutation.tests
            if not (root / test.split("::")[0]).exists()
        ]
    return found


def run(tell: Callable[[str], None]) -> list[Verdict]:
    """Try every mutation. Raises ``StaleMutationError``, and where the tests fail without any."""
    if faults := stale():
        raise StaleMutationError("; ".join(faults))
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in COPIED:
            _copy(ROOT / part, folder / part)
        every = sorted({test for mutation in MUTATIONS for test in mutation.tests})
        if (code := _pytest(folder, every)) != 0:
            raise StaleMutationError(f"the tests fail without a mutation, pytest's exit code was {code}")
        return [_tried(folder, mutation, tell) for mutation in MUTATIONS]


def _tried(folder: Path, mutation: Mutation, tell: Callable[[str], None]) -> Verdict:
    path = folder / mutation.file
    text = path.read_text("utf-8")
    path.write_text(mutated(text, mutation), "utf-8")
    try:
        killed = _pytest(folder, mutation.tests) == FAILED
    finally:
        path.write_text(text, "utf-8")
    tell(f"mutation {mutation.guard}: {'killed' if killed else 'SURVIVED'}")
    return Verdict(mutation, killed)


def _pytest(folder: Path, tests: Sequence[str]) -> int:
    # The copy goes before whatever is installed; no bytecode of a mutation outlives it.
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode


def _copy(origin: Path, target: Path) -> None:
    if origin.is_dir():
        shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    elif origin.exists():
        shutil.copy(origin, target)
