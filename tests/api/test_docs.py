"""``/docs``: one page, complete, safe, from nowhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from gateway.api.docs import page
from gateway.api.openapi import document

DOCUMENT = document("https://otp.example.org")
VOID = {"meta", "br", "link"}


class Reader(HTMLParser):
    """Collects tags and attributes, and sees that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def reader() -> Reader:
    found = Reader()
    found.feed(page(DOCUMENT))
    found.close()
    return found


def test_every_tag_is_closed_and_every_link_leads_somewhere(reader):
    assert reader.open == []
    ids = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    links = {attributes["href"] for tag, attributes in reader.tags if tag == "a"}
    assert links - {f"#{name}" for name in ids} == {"openapi.json"}


def test_the_page_shows_every_operation_and_every_problem(reader):
    for path, methods in DOCUMENT["paths"].items():
        assert path in reader.text
        for operation in methods.values():
            assert operation["summary"] in reader.text
            assert set(operation["responses"]) <= set(re.findall(r"\d{3}", reader.text))
    for code in ("wrong_code", "cooldown", "idempotency_mismatch", "method_not_allowed", "unavailable"):
        assert code in reader.text


def test_the_page_names_every_field_of_a_create(reader):
    for field in ("to", "channels", "client.ip", "code.length", "ttl"):
        assert field in reader.text


def test_nothing_runs_and_nothing_is_loaded(reader):
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _ in reader.tags}
    assert not [name for _, attributes in reader.tags for name in attributes if name in {"style", "src", "onclick"}]


async def test_the_page_is_served_with_a_policy_that_knows_its_style(client):
    response = await client.get("/docs")
    policy = response.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert (response.headers["content-type"], response.status_code) == ("text/html; charset=utf-8", 200)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_what_is_written_in_the_document_is_escaped():
    hostile = {**DOCUMENT, "info": {**DOCUMENT["info"], "description": "<script>alert(1)</script> `<b>`"}}
    shown = page(hostile)
    assert "<script>" not in shown
    assert "<code>&lt;b&gt;</code>" in shown
