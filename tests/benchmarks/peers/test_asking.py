from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.children import Child, program
from benchmarks.peers.asking import Asked, Errand, rendered, run

Answer = Callable[[int, str], bytes]
ERRAND = Errand({"X-Key": "k"}, [("/ask", f'{{"n":{number}}}') for number in range(6)], 200, '"right": 1', 0.0, 20.0, 2)


def plain(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def right(_number: int, _body: str) -> bytes:
    return plain(200, '{"right":1}')


async def asked(errand: Errand, answer: Answer) -> tuple[Asked, dict[int, str], list[str]]:
    """Ask a server that answers its n-th request so; an empty answer closes the connection."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.read(65_536)).decode():
            seen.append(head)
            told = answer(len(seen), head.partition("\r\n\r\n")[2])
            # Cut in two: an answer may come in pieces.
            for piece in (told[:20], told[20:]):
                writer.write(piece)
                await writer.drain()
            if not told or b"Connection: close" in told:
                break

    return await served(serve, errand, seen)


async def served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], errand: Errand, seen: list[str]
) -> tuple[Asked, dict[int, str], list[str]]:
    handlers = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        await serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        told, answers = await run(server.sockets[0].getsockname()[1], errand)
        await asyncio.gather(*(handler for handler in handlers if handler))
    return told, dict(answers), seen


async def test_each_request_is_asked_once_and_its_answer_kept_by_its_place():
    told, answers, seen = await asked(ERRAND, lambda _, body: plain(200, f'{{"right":1,"echo":{body}}}'))
    assert (told.right, told.all_right, told.refused, told.wrong, len(seen)) == (6, 6, 0, {}, 6)
    assert {place: json.loads(body)["echo"]["n"] for place, body in answers.items()} == {n: n for n in range(6)}


async def test_an_answer_in_chunks_is_read_like_any_other():
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"rig\r\n6\r\nht":1}\r\n0\r\n\r\n'
    told, _, _ = await asked(ERRAND, lambda *_: chunked)
    assert told.all_right == 6


async def test_a_server_that_closes_after_each_answer_is_asked_over_new_connections():
    told, _, seen = await asked(ERRAND, lambda *_: plain(200, '{"right":1}', "Connection: close"))
    assert (told.all_right, len(seen)) == (6, 6)


async def test_a_request_that_a_closing_server_did_not_answer_is_asked_again():
    told, _, seen = await asked(ERRAND, lambda number, body: b"" if number == 2 else right(number, body))
    assert (told.all_right, len(seen)) == (6, 7)


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closed"])
async def test_not_now_is_asked_again_and_told(headers):
    told, _, _ = await asked(
        ERRAND, lambda number, body: plain(503, "{}", *headers) if number < 3 else right(number, body)
    )
    assert (told.all_right, told.refused, told.wrong) == (6, 2, {})


async def test_another_status_and_another_text_are_wrong_and_the_first_is_shown():
    told, answers, _ = await asked(
        ERRAND,
        lambda number, body: {1: plain(401, "who?"), 2: plain(200, '{"right":0}')}.get(number, right(number, body)),
    )
    assert (told.all_right, told.wrong, len(answers)) == (4, {"401": 1, "200": 1}, 4)
    assert told.shown in {"who?", '{"right":0}'}


async def test_what_is_answered_before_the_clock_runs_does_not_count():
    told, _, _ = await asked(replace(ERRAND, warm_up=60.0), right)
    assert (told.right, told.all_right) == (0, 6)


async def test_what_is_under_way_at_the_end_is_given_up():
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        # Nothing is left to read once the client has gone.
        while await reader.read(65_536):
            pass

    told, answers, _ = await served(silent, replace(ERRAND, seconds=0.05), [])
    assert (told.all_right, len(answers)) == (0, 0)
    assert told.seconds == pytest.approx(0.05)


async def test_a_server_that_is_gone_is_an_error(unused_tcp_port):
    with pytest.raises(ConnectionError):
        await run(unused_tcp_port, replace(ERRAND, connections=1))


@given(st.text(), st.sampled_from(["/a", "/b?c=d"]))
def test_a_request_says_its_length_in_bytes(body, path):
    head, _, content = rendered({"X-Key": "k"}, path, body).partition(b"\r\n\r\n")
    assert content == body.encode()
    assert head.splitlines()[0] == f"POST {path} HTTP/1.1".encode()
    assert f"Content-Length: {len(content)}".encode() in head.splitlines()


def test_an_errand_shows_no_key_and_no_code_and_its_file_is_the_owners_alone(tmp_path):
    errand = replace(ERRAND, headers={"X-Key": "secret-key"}, requests=[("/ask", '{"code":"123456"}')])
    errand.write(tmp_path / "errand")
    assert (tmp_path / "errand").stat().st_mode & 0o777 == 0o600
    assert ("secret-key" in repr(errand), "123456" in repr(errand)) == (False, False)


async def test_the_program_tells_what_came_and_writes_the_answers_down(tmp_path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(right(0, ""))
        writer.close()

    ERRAND.write(tmp_path / "errand")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port, answers = server.sockets[0].getsockname()[1], tmp_path / "answers"
    command = program("peers.asking", port, tmp_path / "errand", "--answers", answers)
    async with server:
        with Child("asking", command, tmp_path) as child:
            told = json.loads(await asyncio.to_thread(child.line, 30.0))
    assert (told["all_right"], len(json.loads(answers.read_text()))) == (6, 6)
