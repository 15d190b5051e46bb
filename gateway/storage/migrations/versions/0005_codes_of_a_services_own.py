"""codes of a service's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Which verifications' codes their service brought: to know such a code is not to have read it.

    It only adds, so nodes of the version before go on with it; what they make tells nothing, as if made here.
    """
    op.add_column("verification", sa.Column("own_code", sa.BigInteger(), nullable=True))
