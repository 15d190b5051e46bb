"""``/docs``: the OpenAPI document as one HTML page, without a script and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5b6579; --line: #dfe3ea; --paper: #fff; --tint: #f5f7fa;
  --get: #1a6fb5; --post: #2a7d46; --delete: #b3372f; --mark: #1a6fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #2e3645; --paper: #14181f;
  --tint: #1b212b; --get: #6cb4ee; --post: #6fcf8f; --delete: #f08a80; --mark: #6cb4ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
.page { display: grid; grid-template-columns: 17rem minmax(0, 1fr); max-width: 78rem; margin: 0 auto; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding: 2rem 1rem 2rem 1.5rem;
  font-size: .9rem; }
nav h2 { margin: 1.4rem 0 .3rem; font-size: .75rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: .2rem 0; color: var(--ink); text-decoration: none; }
main a { color: var(--mark); }
a:hover { text-decoration: underline; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
main { padding: 2rem 1.5rem 5rem; border-left: 1px solid var(--line); }
h1 { margin: 0 0 .2rem; font-size: 1.9rem; }
h1 small { font-size: .9rem; font-weight: 400; color: var(--soft); }
section { padding: 1.6rem 0 1.2rem; border-top: 1px solid var(--line); }
section h2 { margin: 0 0 .4rem; font-size: 1.25rem; }
h3 { margin: 1.3rem 0 .4rem; font-size: .8rem; letter-spacing: .05em; text-transform: uppercase; color: var(--soft); }
.route { display: flex; flex-wrap: wrap; gap: .7rem; align-items: baseline; margin: 0 0 .7rem; }
.method { font: 700 .75rem/1 ui-monospace, monospace; padding: .3rem .5rem; border-radius: .3rem;
  border: 1px solid currentColor; }
.get { color: var(--get); } .post { color: var(--post); } .delete { color: var(--delete); }
code, pre { font: .86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
p code, td code { background: var(--tint); padding: .1rem .3rem; border-radius: .25rem; }
pre { margin: .5rem 0; padding: .9rem 1rem; overflow-x: auto; background: var(--tint); border: 1px solid var(--line);
  border-radius: .5rem; }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { padding: .45rem .8rem .45rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td:first-child { white-space: nowrap; }
.soft { color: var(--soft); }
details { border-bottom: 1px solid var(--line); }
summary { padding: .5rem 0; cursor: pointer; }
summary b { display: inline-block; min-width: 3rem; font-family: ui-monospace, monospace; }
@media (max-width: 52rem) { .page { display: block; } nav { position: static; max-height: none; padding: 1.2rem 1.2rem 0; }
  main { padding: 1.2rem; border-left: 0; } td:first-child { white-space: normal; } }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Nothing is loaded and nothing runs; the one style sheet is known by its hash (CSP level 3, 8.3).
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(document: Json) -> str:
    """Return the page for an OpenAPI document."""
    info = document["info"]
    operations = list(_operations(document))
    body = "".join(_operation(document, *operation) for operation in operations)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} · HTTP API</title><style>{_STYLE}</style></head>"
        f'<body><div class="page"><nav aria-label="Operations">{_contents(document, operations)}</nav><main>'
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f'<p class="soft"><code>{escape(document["servers"][0]["url"])}</code> · <a href="openapi.json">openapi.json</a></p>'
        f"{_prose(info['description'])}{body}</main></div></body></html>"
    )


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _contents(document: Json, operations: list[tuple[str, str, Json]]) -> str:
    parts = []
    for tag in document["tags"]:
        links = "".join(
            f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
            for _, _, operation in operations
            if tag["name"] in operation["tags"]
        )
        parts.append(f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>")
    return "".join(parts)


def _operation(document: Json, path: str, method: str, operation: Json) -> str:
    return (
        f'<section id="{operation["operationId"]}"><h2>{escape(operation["summary"])}</h2>'
        f'<p class="route"><span class="method {method}">{method.upper()}</span><code>{escape(path)}</code></p>'
        f"{_prose(operation.get('description', ''))}"
        f"{_parameters(operation.get('parameters', ()))}"
        f"{_request(document, operation.get('requestBody', {}))}"
        f"<h3>Answers</h3>{''.join(_response(status, told) for status, told in operation['responses'].items())}</section>"
    )


def _parameters(parameters: Any) -> str:
    rows = [(item["name"], item["in"], item.get("description", "")) for item in parameters]
    return f"<h3>Parameters</h3>{_table(('Name', 'In', ''), rows)}" if rows else ""


def _request(document: Json, body: Json) -> str:
    for content in body.get("content", {}).values():
        fields = "".join(_fields(document, content["schema"]))
        return fields + "".join(_example(name, item["value"]) for name, item in content.get("examples", {}).items())
    return ""


def _fields(document: Json, schema: Json) -> Iterator[str]:
    """Return a table of a schema's fields, with those of the objects inside."""
    properties = _resolved(document, schema).get("properties")
    if not properties:
        return
    rows = list(_rows(document, _resolved(document, schema), ""))
    yield f"<h3>Body</h3>{_table(('Field', 'Type', ''), rows)}"


def _rows(document: Json, schema: Json, above: str) -> Iterator[tuple[str, str, str]]:
    for name, field in schema["properties"].items():
        required = " (required)" if name in schema.get("required", ()) else ""
        yield f"{above}{name}", _type(document, field), _described(document, field) + required
        inner = _inner(document, field)
        if "properties" in inner:
            yield from _rows(document, inner, f"{above}{name}.")


def _inner(document: Json, field: Json) -> Json:
    """Return what a field is besides ``null``."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    return _resolved(document, choices[0] if len(choices) == 1 else field)


def _described(document: Json, field: Json) -> str:
    return str(field.get("description") or _inner(document, field).get("description", ""))


def _type(document: Json, field: Json) -> str:
    if "anyOf" in field:
        types = [_type(document, choice) for choice in field["anyOf"]]
        return " or ".join(name for name in types if name != "null")
    return str(_resolved(document, field).get("type", ""))


def _resolved(document: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _response(status: str, response: Json) -> str:
    examples = []
    for content in response.get("content", {}).values():
        if "example" in content:
            examples.append(_pre(content["example"]))
        examples += [_pre(item["value"]) for item in content.get("examples", {}).values()]
    title = f"<b>{escape(status)}</b> {escape(response['description'])}"
    return f"<details><summary>{title}</summary>{''.join(examples) or '<p class=soft>No body.</p>'}</details>"


def _example(name: str, value: object) -> str:
    return f"<h3>Example: {escape(name)}</h3>{_pre(value)}"


def _pre(value: object) -> str:
    return f'<pre tabindex="0">{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>'


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{_inline(text)}</td></tr>"
        for name, kind, text in rows
    )
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
