"""What domains publish: SPF and DMARC records, read without ever failing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.findings import Verdict
from gateway.diagnosis.mail_policies import climbing, dmarc_finding, spf_finding

INCLUDES = " ".join(f"include:s{number}.example" for number in range(11))


@pytest.mark.parametrize(
    ("texts", "verdict", "word"),
    [
        ([], "warning", "no SPF record"),
        (["v=spf10 -all", "google-site-verification=x"], "warning", "no SPF record"),
        (["v=spf1 mx -all"], "ok", "refused"),
        (["V=SPF1 mx -ALL"], "ok", "refused"),
        (["v=spf1 include:_spf.mail.example ~all"], "ok", "distrusted"),
        (["v=spf1 redirect=_spf.mail.example"], "ok", "another domain's"),
        (["v=spf1 mx +all"], "fault", "everybody"),
        (["v=spf1 all"], "fault", "everybody"),
        (["v=spf1 +all -all"], "fault", "everybody"),
        (["v=spf1 mx ?all"], "warning", "says nothing"),
        (["v=spf1 mx"], "warning", "says nothing"),
        (["v=spf1"], "warning", "says nothing"),
        (["v=spf1 -all", "v=spf1 mx -all"], "fault", "2 SPF records"),
        ([f"v=spf1 {INCLUDES} -all"], "fault", "over 10 look-ups"),
        ([f"v=spf1 {INCLUDES.partition(' ')[2]} ip4:192.0.2.1 -all"], "ok", "refused"),
    ],
)
def test_spf_says_who_may_send(texts, verdict, word):
    found = spf_finding("it", texts)
    assert (found.subject, found.verdict, word in found.told) == ("it", verdict, True)


@pytest.mark.parametrize(
    ("texts", "verdict", "word"),
    [
        (["v=DMARC1; p=reject; rua=mailto:d@shop.example"], "ok", "p=reject"),
        (["v=DMARC1;p=None"], "ok", "p=none"),
        (["v = DMARC1 ; p = quarantine"], "ok", "p=quarantine"),
        (["v=DMARC1"], "warning", "no policy"),
        (["v=DMARC1; p=maybe"], "warning", "no policy"),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "fault", "2 DMARC records"),
    ],
)
def test_dmarc_says_what_becomes_of_the_rest(texts, verdict, word):
    found = dmarc_finding("it", texts)
    assert found is not None
    assert (found.subject, found.verdict, word in found.told) == ("it", verdict, True)


@pytest.mark.parametrize("texts", [[], ["v=DMARC10; p=none"], ["p=none; v=DMARC1"], ["anything"]])
def test_other_records_are_no_dmarc(texts):
    assert dmarc_finding("it", texts) is None


_TERMS = st.sampled_from(
    ["v=spf1", "v=DMARC1", "-all", "+all", "include:", "redirect=", "p=", ";", "=", " ", "mx", "\0"]
)
_RECORDS = st.lists(st.one_of(st.text(max_size=40), st.lists(_TERMS, max_size=9).map(" ".join)), max_size=4)


@settings(max_examples=200)
@given(_RECORDS)
def test_whatever_dns_holds_is_read(texts):
    found = (spf_finding("it", texts), dmarc_finding("it", texts))
    assert {item.verdict for item in found if item is not None} <= set(Verdict)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("mail.shop.example", ["mail.shop.example", "shop.example"]),
        ("shop.example", ["shop.example"]),
        ("example", ["example"]),
    ],
)
def test_domains_above_may_speak_for_one_down_to_two_labels(domain, expected):
    assert climbing(domain) == expected
