"""Accounts of authenticators that are somebody's address: erased with the address, while the authenticator goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from channels.base import InvalidAddressError, Normalize
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer, UnsealError
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, Record
from gateway.verification.authenticators.view import Person, person_of, sealed_person

#: Authenticators looked through at once: whose address an account is, is known by opening what is sealed.
PAGE: Final = 200

_PAGE = f"SELECT id, person_sealed FROM authenticator WHERE id > :after ORDER BY id LIMIT {PAGE}"  # noqa: S608 - a number of our own
_ONE: Final = "SELECT person_sealed FROM authenticator WHERE id = :id"
#: Unless it was sealed anew meanwhile, by a key that may be this node's newest or not.
_EMPTY: Final = Statement(
    "authenticator.empty_account",
    {"id": "text", "sealed": "bytea", "was": "bytea"},
    """UPDATE authenticator SET person_sealed = r.sealed
    FROM r WHERE authenticator.id = r.id AND authenticator.person_sealed = r.was
    RETURNING authenticator.id""",
    key=(0,),
)


class Accounts:
    """Finds accounts by the addresses they are. ``kinds`` read addresses."""

    def __init__(self, database: Database, sealer: Sealer, hasher: Hasher, kinds: Mapping[str, Normalize]) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._kinds = kinds

    async def known(self, hashes: Collection[bytes]) -> frozenset[str]:
        """Return the ids of authenticators whose account is one of the addresses with these hashes.

        Raises ``StorageError``.
        """
        found: set[str] = set()
        after = ""
        while hashes and (page := await self._database.fetch(_PAGE, after=after)):
            found.update(record["id"] for record in page if self._is_one_of(record, hashes))
            after = page[-1]["id"]
        return frozenset(found)

    async def empty(self, authenticators: Collection[str]) -> None:
        """Empty the accounts of these. Raises ``StorageError``."""
        for each in sorted(authenticators):
            while found := await self._database.fetch(_ONE, id=each):
                was = bytes(found[0]["person_sealed"])
                if await self._database.claim(Move((_EMPTY, (each, self._without_account(each, was), was)), [])):
                    break

    def _without_account(self, authenticator_id: str, blob: bytes) -> bytes:
        told = person_of(self._sealer, authenticator_id, blob)
        person = Person(told.reference, told.masked, "", told.issuer)
        return sealed_person(self._sealer, authenticator_id, person)

    def _is_one_of(self, record: Record, hashes: Collection[bytes]) -> bool:
        try:
            account = person_of(self._sealer, record["id"], record["person_sealed"]).account
        except UnsealError:
            # Nobody can tell whose it is any more, the gateway included.
            return False
        return any(hashed in hashes for hashed in self.hashes(account))

    def hashes(self, account: str) -> list[bytes]:
        """Return what an account is known by as an address, of every kind that takes it."""
        found = []
        for kind, normalize in self._kinds.items():
            try:
                found.append(self._hasher.hash(kind, normalize(account).canonical))
            except InvalidAddressError:
                continue
        return found
