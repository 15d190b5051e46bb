"""What proofs are signed with."""

from __future__ import annotations

from sqlmodel import SQLModel

from gateway.storage.models.columns import blob, key, time


class SigningKey(SQLModel, table=True):
    """An Ed25519 key: published first, then signing, then kept until nothing it signed is valid any more."""

    __tablename__ = "signing_key"

    #: Its JWK thumbprint (RFC 7638): the ``kid``.
    id: str = key()
    private_sealed: bytes = blob()
    #: 32 bytes.
    public: bytes = blob()
    created_at: float = time()
    #: When it begins to sign; until then it is only published.
    signs_from: float = time()
