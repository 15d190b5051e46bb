"""Where a database is, in words for an operator: never a user, which may look like an address, nor a password."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

#: The port of a PostgreSQL server unless the URL says another.
_PORT = "5432"


def of_server(url: str) -> str:
    """Return where the PostgreSQL server of a URL is: ``PostgreSQL at db.example.org:5432 (database otp)``."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    hosts = parts.netloc.rpartition("@")[2] or query.get("host", "")
    told = ", ".join(_host(unquote(host), query.get("port", _PORT)) for host in hosts.split(","))
    database = unquote(parts.path.lstrip("/")) or query.get("dbname") or query.get("database")
    return f"PostgreSQL at {told} ({f'database {database}' if database else 'the database named like its user'})"


def _host(host: str, port: str) -> str:
    if not host or host.startswith("/"):
        return f"the socket in {host}" if host else "this machine's socket"
    # The colons within brackets are an IPv6 address's own.
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"
