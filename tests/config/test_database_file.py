"""Where no database can be: told by the key, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import check_folder
from gateway.errors import ConfigError
from tests.config.samples import MINIMAL, load


def why(folder: Path, url: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_folder(load(folder, f'{MINIMAL}[database]\nurl = "{url}"\n', environ))
    (fault,) = caught.value.faults
    return fault


def test_a_folder_that_is_not_there_is_told(tmp_path):
    told = f"there is no folder {tmp_path}/nodir; make it, or correct the path"
    assert why(tmp_path, "sqlite:///nodir/otp.db") == f"[database] url: {told}"
    url = {"OTP_GATEWAY_DATABASE__URL": f"sqlite:///{tmp_path}/nodir/otp.db"}
    assert why(tmp_path, "sqlite:///otp.db", **url) == f"OTP_GATEWAY_DATABASE__URL: {told}"


def test_a_file_in_place_of_the_folder_and_a_folder_in_place_of_the_file_are_told(tmp_path):
    assert why(tmp_path, "sqlite:///config.toml/otp.db") == (
        f"[database] url: {tmp_path}/config.toml is no folder; correct the path"
    )
    (tmp_path / "data").mkdir()
    assert why(tmp_path, "sqlite:///data") == f"[database] url: {tmp_path}/data is a folder; name a file in it"


def test_a_folder_that_this_user_may_not_look_into_is_told(tmp_path, monkeypatch):
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert why(tmp_path, "sqlite:///otp.db") == (
        f"[database] url: {tmp_path} cannot be looked into: Permission denied; run as the gateway's user"
    )


@pytest.mark.parametrize("url", ["sqlite:///otp.db", "postgresql://otp@localhost/otp"])
def test_a_folder_that_is_there_and_postgresql_are_left_alone(tmp_path, url):
    check_folder(load(tmp_path, f'{MINIMAL}[database]\nurl = "{url}"\n'))
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
