from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.telegram_html import TAGS, ParseError, decode, parse, units


@pytest.mark.parametrize(
    ("markup", "text", "entities"),
    [
        ("plain", "plain", []),
        ("<b>bold</b>", "bold", [("bold", 0, 4)]),
        ("😀<B>x</b >", "😀x", [("bold", 2, 1)]),
        ("<b>a<i>b</i></b>", "ab", [("bold", 0, 2), ("italic", 1, 1)]),
        ('<span class="tg-spoiler">x</span>', "x", [("spoiler", 0, 1)]),
        ("<b></b>x", "x", []),
        ("<blockquote expandable>x</blockquote>", "x", [("expandable_blockquote", 0, 1)]),
        ("<blockquote>x</blockquote>", "x", [("blockquote", 0, 1)]),
        ('<pre><code class="language-python">x</code></pre>', "x", [("pre", 0, 1), ("code", 0, 1)]),
        ("a &lt;b&gt; &amp; &quot;c&quot;", 'a <b> & "c"', []),
        ("1 > 0", "1 > 0", []),
    ],
)
def test_markup_becomes_text_and_entities(markup, text, entities):
    plain, found = parse(markup)
    assert plain == text
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in found] == entities


@pytest.mark.parametrize(
    ("attribute", "url"),
    [
        ('href="https://example.org/?a=1&amp;b=2"', "https://example.org/?a=1&b=2"),
        ("href='tg://user?id=1'", "tg://user?id=1"),
        ("href=https://example.org", "https://example.org"),
        ('title="<>" HREF="https://example.org"', "https://example.org"),
    ],
)
def test_a_link_carries_its_address(attribute, url):
    assert parse(f"<a {attribute}>here</a>")[1][0]["url"] == url


@pytest.mark.parametrize("attribute", ["", 'href="javascript:alert(1)"', 'href="http://["'])
def test_a_link_that_leads_nowhere_is_plain_text(attribute):
    assert parse(f"<a {attribute}>here</a>") == ("here", [])


def test_a_custom_emoji_carries_its_id():
    assert parse('<tg-emoji emoji-id="7">x</tg-emoji>')[1][0]["custom_emoji_id"] == "7"


@pytest.mark.parametrize(
    ("markup", "complaint"),
    [
        ("<p>x</p>", 'Unsupported start tag "p" at byte offset 0'),
        ("ü<span>x</span>", 'Unsupported start tag "span" at byte offset 2'),
        ("a <3 b>", 'Unsupported start tag "3" at byte offset 2'),
        ("a < b", "Unclosed start tag at byte offset 2"),
        ("x<b", "Unclosed start tag at byte offset 1"),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<b><i>x</b></i>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("<!-- x -->", 'Unsupported start tag "!--" at byte offset 0'),
        ("<br/>", 'Unsupported start tag "br" at byte offset 0'),
    ],
)
def test_what_telegram_refuses_is_refused_in_its_words(markup, complaint):
    with pytest.raises(ParseError) as refused:
        parse(markup)
    assert str(refused.value) == complaint


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("&#65;&#x42;", "AB"),
        ("&nbsp;", "&nbsp;"),
        ("&lt", "<"),
        ("&ltx;", "&ltx;"),
        ("&#0;", "&#0;"),
        ("&#xd800;", "&#xd800;"),
        ("&#9999999;", "&#9999999;"),
    ],
)
def test_references_telegram_does_not_know_stay_as_they_are(text, decoded):
    assert decode(text) == decoded


@given(st.text(), st.sampled_from(sorted(TAGS.keys() - {"a", "span"})))
def test_escaped_text_comes_back_whole(text, tag):
    plain, entities = parse(f"<{tag}>{html.escape(text)}</{tag}>")
    assert plain == text
    assert [entity["length"] for entity in entities] == ([units(plain)] if plain else [])


@given(st.text(st.sampled_from("<>/bia &;\"'=#x1é😀")))
def test_any_markup_is_read_or_refused(markup):
    try:
        text, entities = parse(markup)
    except ParseError:
        return
    assert all(0 <= entity["offset"] <= entity["offset"] + entity["length"] <= units(text) for entity in entities)
