"""The quick faults: what is promised holds while each of them happens. The slow ones: ``python -m tests.faults``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.conftest import aside
from tests.faults.needs import CannotInjectError
from tests.faults.scene import scene
from tests.faults.script import TRIALS
from tests.faults.stores import Prepared, prepare

QUICK = [
    pytest.param(trial, engine, id=f"{trial.fault}-{trial.name}-{engine}")
    for trial in TRIALS
    if trial.fast
    for engine in trial.engines
]


@pytest.fixture(scope="session")
def prepared_sqlite(tmp_path_factory) -> Prepared:
    return made(tmp_path_factory.mktemp("prepared"), None)


@pytest.fixture(scope="session")
def prepared_postgresql(tmp_path_factory, postgresql_url) -> Prepared:
    return made(tmp_path_factory.mktemp("prepared"), postgresql_url)


def made(folder: Path, url: str | None) -> Prepared:
    found: list[Prepared] = []

    async def make() -> None:
        found.append(await prepare(folder, url))

    aside(make())
    return found[0]


@pytest.mark.parametrize(("trial", "engine"), QUICK)
async def test_what_is_promised_holds(trial, engine, request):
    if trial.missing:
        pytest.skip(f"{trial.fault}: {trial.missing}")
    prepared = request.getfixturevalue(f"prepared_{engine}")
    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        try:
            async with scene(Path(folder), prepared) as opened:
                found = await trial.run(opened)
        except CannotInjectError as error:
            pytest.skip(f"{trial.fault}: {error}")
    assert found.broken == []
