"""What is to be on the disk is asked for: a file, and the folder that has its name."""

from __future__ import annotations

import os
import stat

import pytest

from gateway.durable import sync


def test_a_file_and_a_folder_are_waited_for(tmp_path, monkeypatch):
    asked: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    (tmp_path / "file").touch()
    sync(tmp_path / "file")
    sync(tmp_path)
    assert asked == [False, True]


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")
