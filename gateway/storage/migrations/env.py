"""Alembic's entry: runs on the connection it is given."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from gateway.storage import models  # noqa: F401 - importing it fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    # SQLite cannot alter most of a table in place; batch mode copies it.
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
