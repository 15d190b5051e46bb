from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.rounds import Budget
from benchmarks.scale import command
from benchmarks.scale.nodes import Nodes
from benchmarks.scale.server import Server
from benchmarks.served import Prepared


def test_the_folder_of_other_queues_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert command.cache() == tmp_path / "otp-gateway-benchmarks"


@pytest.mark.parametrize("scale", [command.NORMAL, command.QUICK], ids=["normal", "quick"])
def test_what_is_planned_ends_before_it_is_ended(scale):
    assert scale.budget < scale.deadline <= 900


def test_more_messages_are_sent_than_a_node_holds_in_memory():
    from gateway.delivery.dispatching.lane import BUFFER

    assert command.NORMAL.count > BUFFER


def test_a_backlog_there_is_no_time_for_is_left_out_by_name(tmp_path, capsys):
    nodes = Nodes(tmp_path, Server("", tmp_path), Prepared(tmp_path, {}, "key"), 1)
    late = Budget(10.0, iter((0.0, 9.0)).__next__)
    assert command._backlog(nodes, replace(command.QUICK, budget=10.0), late) is None
    assert capsys.readouterr().err == "the backlog of 5,000 is left out, the time is used up\n"
