"""What a verification's messages carry opens in its own row and nowhere else."""

from __future__ import annotations

import orjson
import pytest

from gateway.delivery.payload import (
    Owner,
    Stop,
    open_bind,
    open_code,
    open_params,
    open_route,
    seal_bind,
    seal_code,
    seal_params,
    seal_route,
)
from gateway.storage.sealing import UnsealError

OWNER = Owner("ver_1", "shop", "login")
ROUTE = [Stop("pigeon", "+4915112345678", "+49•••678", "ab"), Stop("owl", None, "user", "cd", "de")]
STRANGERS = [Owner("ver_2", "shop", "login"), Owner("ver_1", "bank", "login"), Owner("ver_1", "shop", "payment")]


def test_what_was_sealed_is_opened_again(sealer):
    assert open_code(sealer, OWNER, 1, seal_code(sealer, OWNER, 1, "012345")) == "012345"
    assert open_params(sealer, OWNER, seal_params(sealer, OWNER, {"name": "Änn"})) == {"name": "Änn"}
    assert open_bind(sealer, OWNER, seal_bind(sealer, OWNER, {"payee": "Änn"})) == {"payee": "Änn"}
    assert open_route(sealer, OWNER, seal_route(sealer, OWNER, ROUTE)) == ROUTE


def test_a_route_that_was_sealed_before_people_had_languages_is_opened(sealer):
    rows = [("pigeon", "+4915112345678", "+49•••678", "ab"), ("owl", None, "user", "cd")]
    blob = sealer.seal(orjson.dumps(rows), OWNER.place("route"))
    assert open_route(sealer, OWNER, blob) == [Stop(*row, locale=None) for row in rows]


def test_a_route_is_kept_as_lists_in_the_order_of_a_stops_fields(sealer):
    kept = orjson.loads(sealer.open(seal_route(sealer, OWNER, ROUTE), OWNER.place("route")))
    assert kept == [
        ["pigeon", "+4915112345678", "+49•••678", "ab", None, None, None, []],
        ["owl", None, "user", "cd", "de", None, None, []],
    ]


def test_no_parameters_are_not_sealed(sealer):
    assert seal_params(sealer, OWNER, {}) is None
    assert open_params(sealer, OWNER, None) == {}
    assert seal_bind(sealer, OWNER, {}) is None
    assert open_bind(sealer, OWNER, None) == {}


@pytest.mark.parametrize("stranger", STRANGERS, ids=["verification", "service", "purpose"])
def test_a_blob_of_another_row_does_not_open(sealer, stranger):
    for opened in (
        lambda: open_code(sealer, stranger, 1, seal_code(sealer, OWNER, 1, "012345")),
        lambda: open_params(sealer, stranger, seal_params(sealer, OWNER, {"name": "Ann"})),
        lambda: open_bind(sealer, stranger, seal_bind(sealer, OWNER, {"payee": "Ann"})),
        lambda: open_route(sealer, stranger, seal_route(sealer, OWNER, ROUTE)),
    ):
        with pytest.raises(UnsealError):
            opened()


def test_a_code_of_another_generation_does_not_open(sealer):
    with pytest.raises(UnsealError):
        open_code(sealer, OWNER, 2, seal_code(sealer, OWNER, 1, "012345"))


def test_a_blob_of_another_column_does_not_open(sealer):
    with pytest.raises(UnsealError):
        open_params(sealer, OWNER, seal_route(sealer, OWNER, ROUTE))
    with pytest.raises(UnsealError):
        open_bind(sealer, OWNER, seal_params(sealer, OWNER, {"payee": "Ann"}))


def test_a_stop_does_not_show_its_address():
    assert "+4915112345678" not in repr(ROUTE[0])
