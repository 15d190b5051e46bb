"""The guards that the promises rest on, each with the text that takes it out and the tests that watch it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.mutation import Mutation

_STATEMENTS = "gateway/delivery/statements.py"
#: Tests of guards that no other test sees.
_TESTS = "tests/faults/test_guards.py"
_STATEMENT_TESTS = "tests/delivery/test_statements.py"
_CHECKING = "gateway/verification/statements.py"

MUTATIONS: Sequence[Mutation] = (
    Mutation(
        "the lease fences a begin",
        _STATEMENTS,
        "AND message.lease = r.node AND message.attempts = r.number - 1 AND message.expires_at > r.at",
        "AND message.attempts = r.number - 1 AND message.expires_at > r.at",
        "an attempt begins whoever holds the message",
        (f"{_STATEMENT_TESTS}::test_the_lease_fences_a_begin",),
    ),
    Mutation(
        "the lease fences a settling",
        _STATEMENTS,
        """AND message.lease = r.node AND message.attempts = r.number
    RETURNING message.id\"\"\"

#: An attempt ends the message""",
        """AND message.attempts = r.number
    RETURNING message.id\"\"\"

#: An attempt ends the message""",
        "an attempt is settled whoever holds the message",
        (f"{_STATEMENT_TESTS}::test_the_lease_fences_the_end_of_an_attempt",),
    ),
    Mutation(
        "a settling is of what is under way",
        _STATEMENTS,
        """_IF_UNDER_WAY = \"\"\"FROM r WHERE message.id = r.id AND message.status = 'sending'""",
        """_IF_UNDER_WAY = \"\"\"FROM r WHERE message.id = r.id""",
        "an attempt is settled whatever became of the message",
        (f"{_STATEMENT_TESTS}::test_an_attempt_is_settled_while_it_is_under_way",),
    ),
    Mutation(
        "SKIP LOCKED",
        _STATEMENTS,
        "LIMIT room.number FOR UPDATE SKIP LOCKED) AS taken)",
        "LIMIT room.number) AS taken)",
        "a claim takes what another node is taking",
        (f"{_STATEMENT_TESTS}::test_a_claim_skips_what_another_transaction_holds",),
    ),
    Mutation(
        "nothing begins after the code's death",
        _STATEMENTS,
        "AND message.attempts = r.number - 1 AND message.expires_at > r.at",
        "AND message.attempts = r.number - 1",
        "an attempt begins whenever the code dies",
        (f"{_STATEMENT_TESTS}::test_nothing_begins_once_its_code_is_dead",),
    ),
    Mutation(
        "nothing begins that is not wanted any more",
        _STATEMENTS,
        """AND message.followed_at IS NULL
        AND {_WANTED}""",
        "AND message.followed_at IS NULL",
        "an attempt begins though its code was used, canceled or replaced",
        (f"{_STATEMENT_TESTS}::test_nothing_begins_that_is_not_wanted_any_more",),
    ),
    Mutation(
        "a rescue is of what has lapsed",
        _STATEMENTS,
        "AND message.attempts = r.number AND message.due_at <= r.at",
        "AND message.attempts = r.number",
        "an attempt under way is taken from its node before its lease ends",
        (f"{_STATEMENT_TESTS}::test_a_rescue_takes_the_attempt_that_was_seen_and_whose_lease_is_over",),
    ),
    Mutation(
        "receipts never go back",
        _STATEMENTS,
        "(r.status = 'undelivered' AND message.status = 'sent'",
        "(r.status = 'undelivered' AND message.status IN ('sent', 'delivered')",
        "a late undelivered undoes a delivered",
        (f"{_TESTS}::test_of_a_delivery_and_a_failure_reported_at_once_the_delivery_stands",),
    ),
    Mutation(
        "a dying code is not sent again",
        "gateway/delivery/retry.py",
        "if due > self.expires_at - min_life(self.ttl):",
        "if due > self.expires_at:",
        "a retry is made with less than min_life left",
        ("tests/delivery/test_retry.py",),
    ),
    Mutation(
        "a lost answer is followed by one repeat",
        "gateway/delivery/retry.py",
        "if self.unknowns + 1 >= MAX_UNKNOWNS:",
        "if self.unknowns < 0:",
        "a second lost answer is repeated, too",
        ("tests/delivery/test_retry.py::test_a_second_lost_answer_moves_on",),
    ),
    Mutation(
        "a node that stood still sends nothing",
        "gateway/delivery/dispatching/calling.py",
        "if self._clock.monotonic() - begun > LEASE - min(timeout, LEASE / 2):",
        "if begun < 0:",
        "a process that was stopped before its send sends when it goes on",
        (f"{_TESTS}::test_a_node_that_stood_still_for_a_lease_sends_nothing",),
    ),
    Mutation(
        "no send starts after the code's death",
        "gateway/delivery/dispatching/calling.py",
        "if limit <= 0:",
        "if limit < -1e9:",
        "a channel is called for a code that is dead",
        ("tests/delivery/dispatching/test_dispatcher.py",),
    ),
    Mutation(
        "checks are counted",
        _CHECKING,
        "SET checks = checks + 1",
        "SET checks = checks",
        "a code may be guessed at without end",
        ("tests/verification/test_checking.py::test_parallel_guesses_never_exceed_the_limit",),
    ),
    Mutation(
        "a dead code is not accepted",
        _CHECKING,
        "AND checks < max_checks AND expires_at > :now",
        "AND checks < max_checks",
        "a code is good after its death",
        ("tests/verification/test_checking.py::test_an_expired_code_is_gone_even_before_the_sweep",),
    ),
    Mutation(
        "a callback proves where it comes from",
        "channels/sms.py",
        'if not signed or fields.get("AccountSid") != self.settings.account_sid:',
        'if fields.get("AccountSid") != self.settings.account_sid:',
        "anybody may report a delivery",
        ("tests/channels/test_sms.py::test_a_callback_that_proves_nothing_is_forged",),
    ),
    Mutation(
        "a report is of its own channel's messages",
        "gateway/delivery/receipts.py",
        'if found[0]["channel"] != channel:',
        "if not channel:",
        "who may speak for one provider may for all",
        ("tests/delivery/test_receipts.py::test_a_report_by_another_channel_than_the_messages_changes_nothing",),
    ),
    Mutation(
        "a chat guesses at few challenges",
        "gateway/verification/reverse.py",
        "if not await connection.apply(Move((miss.statement, miss.row))):",
        "if not await connection.apply(Move((miss.statement, (*miss.row[:2], 1 << 40)))):",
        "a chat may guess at challenges without end",
        ("tests/verification/test_reverse.py::test_a_chat_that_guesses_is_not_heard_for_an_hour_and_others_are",),
    ),
    Mutation(
        "a name turns no code around",
        "gateway/delivery/writing/legible.py",
        "if shown.isascii() or not _RIGHT_TO_LEFT.search(shown):",
        "if shown:",
        "a value written from right to left is not set apart",
        ("tests/delivery/writing/test_legible.py",),
    ),
    Mutation(
        "webhooks go to no private address",
        "gateway/webhooks/addresses.py",
        "return all(map(_host_of_the_internet, (*_packed(whole), *_perhaps_packed(whole))))",
        "return all(map(_any_host, (*_packed(whole), *_perhaps_packed(whole))))",
        "an application's URL may lead into the operator's own network",
        ("tests/webhooks/test_addresses.py::test_private_hosts_are_permitted_only_where_the_operator_says_so",),
    ),
    Mutation(
        "the address connected to is the one that was checked",
        "gateway/webhooks/connecting.py",
        "if not is_permitted(str(place[0])):",
        "if not place:",
        "a name that resolves to another address the second time leads anywhere",
        ("tests/webhooks/test_connecting.py",),
    ),
    Mutation(
        "a commit is on the disk",
        "gateway/storage/sqlite_file.py",
        '"synchronous=FULL"',
        '"synchronous=OFF"',
        "a power cut takes acknowledged requests away",
        ("tests/storage/test_sqlite.py::test_a_connection_is_durable_and_wipes",),
    ),
)
