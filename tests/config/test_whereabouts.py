"""Where a database is can be told to anybody who may see a log: neither user nor password is in it."""

from __future__ import annotations

import pytest

from gateway.config.whereabouts import of_server


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:pw@db.example.org/otp", "db.example.org:5432 (database otp)"),
        ("postgresql://ann@db.example.org:5433/otp?sslmode=require", "db.example.org:5433 (database otp)"),
        ("postgresql://ann@a.example,b.example:6000/otp", "a.example:5432, b.example:6000 (database otp)"),
        ("postgresql://ann@[::1]/otp", "[::1]:5432 (database otp)"),
        ("postgresql://ann@[::1]:6000/my%20otp", "[::1]:6000 (database my otp)"),
        ("postgresql:///otp?host=/run/pg&port=1", "the socket in /run/pg (database otp)"),
        ("postgresql://ann@%2Frun%2Fpg/otp", "the socket in /run/pg (database otp)"),
        ("postgresql://?host=a.example&port=7&dbname=otp", "a.example:7 (database otp)"),
        ("postgresql://ann:pw@/", "this machine's socket (the database named like its user)"),
    ],
)
def test_host_port_and_database_are_told_and_nobodys_name(url, told):
    assert of_server(url) == f"PostgreSQL at {told}"
