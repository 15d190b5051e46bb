"""Columns and indexes as the tables use them, the same on both engines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

# Set before any table is made, so that migrations on both engines know constraints by the same names.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def index_where(name: str, *columns: str, where: str) -> Index:
    """Return an index of those rows alone that a condition holds for, on both engines."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def key() -> Any:
    """Return a text that names a row."""
    return Field(sa_column=Column(Text, primary_key=True))


def hash_key() -> Any:
    """Return bytes that name a row."""
    return Field(sa_column=Column(LargeBinary, primary_key=True))


def string(default: str | None = None) -> Any:
    """Return a text."""
    return Field(sa_column=Column(Text, nullable=False), default=default)


def string_or_null() -> Any:
    """Return a text that may be missing."""
    return Field(sa_column=Column(Text, nullable=True), default=None)


def number() -> Any:
    """Return a whole number."""
    return Field(sa_column=Column(BigInteger, nullable=False))


def number_or_null() -> Any:
    """Return a whole number that may be missing."""
    return Field(sa_column=Column(BigInteger, nullable=True), default=None)


def time() -> Any:
    """Return seconds since the Unix epoch."""
    return Field(sa_column=Column(Float(53), nullable=False))


def time_or_null() -> Any:
    """Return seconds that may be missing."""
    return Field(sa_column=Column(Float(53), nullable=True), default=None)


def blob() -> Any:
    """Return bytes."""
    return Field(sa_column=Column(LargeBinary, nullable=False))


def blob_or_null() -> Any:
    """Return bytes that may be missing."""
    return Field(sa_column=Column(LargeBinary, nullable=True), default=None)
