from __future__ import annotations

from benchmarks.kept import Kept

SAMPLES = {"bare": [{"rate": 2.0}], "gateway": [{"rate": 1.0}]}


def test_what_was_kept_is_read_by_a_run_of_the_same_scale_alone(tmp_path):
    kept = Kept(tmp_path / "kept", "seven rounds")
    assert kept.read("slow disk") is None
    kept.write("slow disk", SAMPLES)
    assert Kept(kept.folder, "seven rounds").read("slow disk") == SAMPLES
    assert Kept(kept.folder, "two rounds").read("slow disk") is None


def test_a_file_that_was_not_written_whole_is_none(tmp_path):
    (tmp_path / "idle.json").write_text('{"scale": "sev')
    assert Kept(tmp_path, "seven rounds").read("idle") is None


def test_nothing_is_kept_once_it_is_cleared(tmp_path):
    kept = Kept(tmp_path, "seven rounds")
    kept.write("idle", SAMPLES)
    kept.clear()
    assert kept.read("idle") is None
