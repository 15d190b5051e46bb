"""Authenticators are made with a secret that is shown once and sealed, and are their own service's alone."""

from __future__ import annotations

import base64

import pytest

from gateway.errors import InvalidRequest, NotFound
from gateway.storage.sealing import UnsealError
from gateway.verification.authenticators.enrolling import ACTIVATED_WITHIN, Enrolling
from gateway.verification.authenticators.uri import MAX_URI
from gateway.verification.authenticators.view import ID, Wanted, device_of, place
from tests.verification.authenticators.conftest import BRANDS, SERVICE


@pytest.fixture
def enrolling(sealer, hasher, clock) -> Enrolling:
    """One without a database: what it prepares is not written."""
    return Enrolling(database=None, sealer=sealer, hasher=hasher, clock=clock, brands=BRANDS)  # type: ignore[arg-type]


def wanted(**changed: object) -> Wanted:
    fields: dict[str, object] = {"kind": "totp", "reference": "user-42", "account": "ann@example.org", **changed}
    return Wanted(**fields)  # type: ignore[arg-type]


def test_what_is_left_out_is_what_apps_expect(enrolling, clock):
    view = enrolling.prepare(SERVICE, wanted()).view
    assert ("totp", "SHA1", 6, 30, "pending", "Shop", clock.now()) == (
        *(view.kind, view.algorithm, view.digits, view.period, view.status, view.issuer, view.created_at),
    )
    assert ID.fullmatch(view.id)


def test_what_is_asked_for_is_made(enrolling):
    view = enrolling.prepare(SERVICE, wanted(kind="hotp", issuer="Ann's", algorithm="SHA512", digits=7)).view
    assert (view.kind, view.algorithm, view.digits, view.period, view.issuer) == ("hotp", "SHA512", 7, None, "Ann's")
    assert view.uri.startswith("otpauth://hotp/Ann%27s:ann@example.org?secret=")


def test_a_secret_has_160_bits_and_no_two_are_the_same(enrolling):
    secrets = {enrolling.prepare(SERVICE, wanted()).view.secret for _ in range(50)}
    assert (50, {20}) == (len(secrets), {len(base64.b32decode(secret)) for secret in secrets})


def test_a_services_name_becomes_an_issuer_without_a_colon(enrolling):
    assert enrolling.prepare("bank", wanted()).view.issuer == "Bank private"


def test_a_services_name_that_is_no_issuer_at_all_is_passed_over(sealer, hasher, clock):
    nameless = Enrolling(database=None, sealer=sealer, hasher=hasher, clock=clock, brands={"shop": ":"})  # type: ignore[arg-type]
    assert nameless.prepare(SERVICE, wanted()).view.issuer == "Example"


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"kind": "push"}, "/type"),
        ({"reference": ""}, "/reference"),
        ({"reference": "x" * 129}, "/reference"),
        ({"account": ""}, "/account"),
        ({"account": "a:b"}, "/account"),
        ({"account": " ann"}, "/account"),
        ({"account": "a\u202eb"}, "/account"),
        ({"account": "x" * 129}, "/account"),
        ({"issuer": ""}, "/issuer"),
        ({"issuer": "a:b"}, "/issuer"),
        ({"issuer": "x" * 65}, "/issuer"),
        ({"algorithm": "MD5"}, "/algorithm"),
        ({"digits": 5}, "/digits"),
        ({"digits": 9}, "/digits"),
        ({"period": 15}, "/period"),
        ({"kind": "hotp", "period": 30}, "/period"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(enrolling, changed, pointer):
    with pytest.raises(InvalidRequest) as caught:
        enrolling.prepare(SERVICE, wanted(**changed))
    assert [pointer] == [fault.pointer for fault in caught.value.errors]
    # A word of two letters, or one that the sentence is about, may stand in it for another reason.
    typed = [str(value) for name, value in changed.items() if name != "kind"]
    assert not any(value in caught.value.detail for value in typed if len(value) > 2)


def test_every_fault_is_named_at_once(enrolling):
    with pytest.raises(InvalidRequest) as caught:
        enrolling.prepare(SERVICE, wanted(kind="push", account="", digits=5))
    assert [fault.pointer for fault in caught.value.errors] == ["/type", "/account", "/digits"]


def test_what_no_qr_code_can_hold_is_refused(enrolling):
    emoji, most = "\N{GRINNING FACE}", wanted(account="x" * 128, issuer="y" * 64)
    assert len(enrolling.prepare(SERVICE, most).view.uri) < MAX_URI
    with pytest.raises(InvalidRequest, match="QR code"):
        enrolling.prepare(SERVICE, wanted(account=emoji * 40, issuer=emoji * 40))


async def test_it_is_read_back_without_its_secret(enrolled):
    made = (await enrolled.enrol()).view
    view = await enrolled.parts.enrolling.one(SERVICE, made.id)
    assert (view.secret, view.uri, view.reference, view.account) == (None, None, "user-42", "ann@example.org")
    assert (made.id, made.created_at, None, None, 0) == (
        *(view.id, view.created_at, view.activated_at, view.used_at, view.recovery_codes_left),
    )


async def test_nothing_of_a_person_or_a_secret_stands_open_in_the_database(enrolled):
    app = await enrolled.enrol()
    [row] = await enrolled.database.fetch("SELECT * FROM authenticator")
    kept = b"|".join(value if isinstance(value, bytes) else str(value).encode() for value in dict(row).values())
    assert not any(part in kept for part in (app.device.secret, app.view.secret.encode(), b"user-42", b"ann@"))


async def test_a_secret_opens_in_its_own_row_only(enrolled, sealer):
    one, other = await enrolled.enrol(), await enrolled.enrol()
    rows = {row["id"]: dict(row) for row in await enrolled.database.fetch("SELECT * FROM authenticator")}
    assert device_of(sealer, rows[one.id]) == one.device
    with pytest.raises(UnsealError):
        device_of(sealer, {**rows[one.id], "secret_sealed": rows[other.id]["secret_sealed"]})
    with pytest.raises(UnsealError):
        sealer.open(rows[one.id]["person_sealed"], place("secret", one.id))


async def test_a_list_is_newest_first_of_one_person_or_of_all(enrolled):
    ann = [await enrolled.enrol() for _ in range(3)]
    bob = await enrolled.enrol(reference="user-43")
    await enrolled.enrol(service="bank")
    newest = [app.id for app in (bob, *reversed(ann))]
    page = await enrolled.parts.enrolling.page(SERVICE, limit=3)
    assert (newest[:3], newest[2]) == ([view.id for view in page.items], page.next_cursor)
    rest = await enrolled.parts.enrolling.page(SERVICE, limit=3, cursor=newest[2])
    assert (newest[3:], None) == ([view.id for view in rest.items], rest.next_cursor)
    hers = await enrolled.parts.enrolling.page(SERVICE, reference="user-42", limit=2)
    assert (newest[1:3], newest[2]) == ([view.id for view in hers.items], hers.next_cursor)


async def test_what_is_no_reference_lists_nothing(enrolled):
    with pytest.raises(InvalidRequest) as caught:
        await enrolled.parts.enrolling.page(SERVICE, reference="")
    assert [fault.pointer for fault in caught.value.errors] == ["?reference"]


async def test_a_deleted_one_is_gone(enrolled):
    app = await enrolled.enrol()
    await enrolled.parts.enrolling.delete(SERVICE, app.id)
    for gone in (enrolled.parts.enrolling.one, enrolled.parts.enrolling.delete):
        with pytest.raises(NotFound):
            await gone(SERVICE, app.id)
    assert await enrolled.outcome(app, app.code()) == "not_found"
    assert await enrolled.events() == ["created", "deleted"]


async def test_another_services_is_not_found(enrolled):
    app = await enrolled.enrol()
    for foreign in (enrolled.parts.enrolling.one, enrolled.parts.enrolling.delete):
        with pytest.raises(NotFound):
            await foreign("bank", app.id)
    assert await enrolled.status(app) == "pending"


async def test_what_nobody_activated_within_a_day_is_deleted(enrolled, clock):
    active = await enrolled.active()
    clock.advance(-60)
    await enrolled.enrol()
    clock.advance(ACTIVATED_WITHIN - 1)
    young = await enrolled.enrol()
    assert await enrolled.parts.enrolling.forget() == 0
    clock.advance(1)
    assert await enrolled.parts.enrolling.forget() == 1
    page = await enrolled.parts.enrolling.page(SERVICE)
    assert [young.id, active.id] == [view.id for view in page.items]
    assert (await enrolled.events())[-1] == "deleted"


def test_a_view_shows_no_person_and_no_secret(enrolling):
    prepared = enrolling.prepare(SERVICE, wanted())
    told = repr((prepared, prepared.view, wanted()))
    assert not any(part in told for part in ("user-42", "ann@", prepared.view.secret, "otpauth"))
