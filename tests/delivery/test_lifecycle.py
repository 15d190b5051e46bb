"""Statuses move as the diagram says."""

from __future__ import annotations

import pytest

from gateway.delivery.lifecycle import (
    MESSAGE_MOVES,
    OPEN,
    VERIFICATION_MOVES,
    MessageStatus,
    VerificationStatus,
    sources,
)

M = MessageStatus

#: The arrows of the diagram in lifecycle.py.
DRAWN = {
    (M.WAITING, M.QUEUED),
    (M.QUEUED, M.SENDING),
    (M.SENDING, M.QUEUED),
    (M.SENDING, M.SENT),
    (M.SENT, M.DELIVERED),
    (M.SENT, M.UNDELIVERED),
    (M.UNDELIVERED, M.DELIVERED),
    *((source, M.EXPIRED) for source in OPEN),
    *((source, M.CANCELED) for source in OPEN),
    (M.QUEUED, M.FAILED),
    (M.SENDING, M.FAILED),
}


#: What a report of an attempt adds whose answer was lost, or is not there yet.
REPORTED = {(M.QUEUED, M.SENT), (M.QUEUED, M.UNDELIVERED), (M.SENDING, M.UNDELIVERED)}


def test_the_moves_of_a_message_are_the_drawn_ones_and_a_late_receipt_wins():
    moves = {(source, target) for target, froms in MESSAGE_MOVES.items() for source in froms}
    assert (DRAWN | REPORTED) - moves == set()
    assert {target for _, target in moves - DRAWN - REPORTED} == {M.DELIVERED}
    assert (M.WAITING, M.DELIVERED) not in moves


def test_a_delivered_message_moves_no_more():
    assert [target for target, froms in MESSAGE_MOVES.items() if M.DELIVERED in froms] == []


def test_every_status_of_a_message_has_its_moves():
    assert set(MESSAGE_MOVES) == set(MessageStatus)


def test_a_verification_leaves_pending_and_nothing_else():
    assert set(VERIFICATION_MOVES) == set(VerificationStatus)
    for status, froms in VERIFICATION_MOVES.items():
        expected = set() if status is VerificationStatus.PENDING else {VerificationStatus.PENDING}
        assert froms == expected


@pytest.mark.parametrize(
    ("status", "listed"),
    [
        (M.SENT, "'queued', 'sending'"),
        (M.EXPIRED, "'queued', 'sending', 'waiting'"),
        (VerificationStatus.APPROVED, "'pending'"),
        (VerificationStatus.PENDING, ""),
    ],
)
def test_sources_are_written_as_a_sql_list(status, listed):
    assert sources(status) == listed
