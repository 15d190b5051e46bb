from __future__ import annotations

from benchmarks.served import at_database


def test_another_database_of_the_same_server_keeps_the_rest_of_the_url():
    assert at_database("postgresql://me:pw@/postgres?host=/run/pg", "b") == "postgresql://me:pw@/b?host=/run/pg"
