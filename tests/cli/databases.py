"""What verbs that read need before there is anything to read: a database that is made and empty."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app


def migrated(config: Path, **environ: str) -> Path:
    """Make the database of a config file, as ``otp-gateway migrate`` does; return the config file."""
    result = CliRunner().invoke(app, ["migrate", "--config", str(config)], env=environ)
    assert result.exit_code == 0, result.output
    return config
