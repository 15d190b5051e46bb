"""A backup that is put back knows codes that were used since it was taken: none of them works, or is sent, again."""

from __future__ import annotations

import shutil

from gateway.sandbox.shapes import code_of
from tests.journeys.node import Caller, by_email


async def test_what_a_restored_backup_has_pending_is_over_and_not_sent(tmp_path, smtp, inbox, make_node):
    database = tmp_path / "gateway.db"
    node = make_node(by_email(smtp.host, smtp.port, DATABASE__URL=f"sqlite:///{database}"))
    await node.start()
    async with Caller((await node.run("keys", "create", "--service", "default")).strip()) as caller:
        _, made = await caller.post(node, "/v1/verifications", {"to": "ann@example.org"})
        code = code_of(await inbox.wait("ann@example.org", timeout=10))
        await node.run("backup", str(tmp_path / "copy.db"))
        check = f"/v1/verifications/{made['id']}/check"
        assert (await caller.post(node, check, {"code": code}))[0] == 200
        assert await node.end() == 0
        for left in tmp_path.glob("gateway.db*"):
            if left.suffix != ".secrets":
                left.unlink()
        shutil.move(tmp_path / "copy.db", database)
        node.options = ("--after-restore",)
        await node.start()
        status, problem = await caller.post(node, check, {"code": code})
        assert (status, problem["code"]) == (410, "expired")
        await caller.post(node, "/v1/verifications", {"to": "bob@example.org"})
        await inbox.wait("bob@example.org", timeout=10)
    assert await node.end() == 0
    assert "after a restore 1 pending codes and 0 links were ended" in node.log.read_text()
    assert [letter.to for letter in inbox.letters] == ["ann@example.org", "bob@example.org"]
