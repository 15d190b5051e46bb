from __future__ import annotations

import pytest

from benchmarks.children import Child, program
from benchmarks.scale.sink import STEP, Counted, Seen, Sink, message_id, span

SEEN = Seen(5000, 0, 0.0, 5.0, tuple(0.5 * number for number in range(1, 11)))


def test_a_mail_is_known_by_its_message_id_however_it_is_spelled():
    assert message_id(b"To: a\r\nMESSAGE-id:  <7@x> \r\n\r\nMessage-ID: <8@x>\r\n") == b"<7@x>"


def test_a_mail_without_one_is_refused():
    with pytest.raises(ValueError, match="without Message-ID"):
        message_id(b"To: a\r\n\r\nMessage-ID: <8@x>\r\n")


def test_a_mail_that_comes_again_is_doubled_and_not_one_more():
    arrivals = Counted()
    for number in (1, 2, 1):
        arrivals.add(b"Message-ID: <%d@x>\r\n\r\n" % number)
    seen = arrivals.seen
    assert (seen.distinct, seen.doubled, seen.first_at <= seen.latest_at) == (2, 1, True)


def test_every_so_many_mails_there_is_a_mark():
    arrivals = Counted()
    for number in range(2 * STEP + 1):
        arrivals.add(b"Message-ID: <%d@x>\r\n\r\n" % number)
    assert len(arrivals.seen.marks) == 2


def test_the_rate_of_a_part_is_that_between_its_marks():
    slower = Seen(5000, 0, 0.0, 0.0, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0))
    assert [span(slower, 0.2, at_end=at_end) for at_end in (False, True)] == [STEP, STEP / 2]


def test_a_part_too_small_for_a_rate_is_refused():
    with pytest.raises(ValueError, match="too few"):
        span(SEEN, 0.1, at_end=False)


def test_the_sink_tells_what_came(tmp_path):
    with Child("sink", program("scale.sink"), tmp_path) as child:
        assert Sink(child).told() == Seen(0, 0, 0.0, 0.0, ())
