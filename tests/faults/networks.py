"""The network between a gateway and everybody else: no link, no route, a trickle, names that do not resolve, bad TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import ClassVar, Self, cast

import trustme

from gateway.sandbox.smtp import SmtpSandbox
from tests.faults.figures import Figures, figures
from tests.faults.load import Load, mobile
from tests.faults.needs import MOUNTS, NETWORK, SHAPING, CannotInjectError, works
from tests.faults.nodes import Node
from tests.faults.scene import Scene
from tests.faults.stub import Provider
from tests.faults.trial import SQLITE, trial

_serial = itertools.count(1)


class Island:
    """A network namespace with one cable to this one. ``here`` and ``there`` are its two ends' addresses.

    Open it with ``with``. Raises ``CannotInjectError``.
    """

    def __init__(self) -> None:
        number = next(_serial)
        self.name = f"faults{number}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"
        self._cable, self._end = f"fo{number}", f"fi{number}"

    def __enter__(self) -> Self:
        works("ip", "netns", "del", self.name)
        for command in (
            f"ip netns add {self.name}",
            f"ip link add {self._cable} type veth peer name {self._end} netns {self.name}",
            f"ip addr add {self.here}/30 dev {self._cable}",
            f"ip link set {self._cable} up",
            f"ip -n {self.name} addr add {self.there}/30 dev {self._end}",
            f"ip -n {self.name} link set {self._end} up",
            f"ip -n {self.name} link set lo up",
        ):
            if missing := works(*command.split()):
                self.__exit__()
                raise CannotInjectError(missing)
        return self

    def __exit__(self, *_: object) -> None:
        works("ip", "netns", "del", self.name)
        works("ip", "link", "del", self._cable)

    @property
    def before(self) -> tuple[str, ...]:
        """What starts a process on the island."""
        return ("ip", "netns", "exec", self.name)

    def do(self, command: str) -> None:
        """Run a command on the island; ``DEV`` is its end of the cable. Raises ``CannotInjectError``."""
        if missing := works("ip", "netns", "exec", self.name, *command.replace("DEV", self._end).split()):
            raise CannotInjectError(missing)


async def castaway(scene: Scene, island: Island, server: SmtpSandbox, **more: str) -> Node:
    """Start a gateway on the island, that sends mail to a server which is not."""
    environ = scene.by_email(
        more,
        CHANNELS__EMAIL__HOST=server.host,
        CHANNELS__EMAIL__PORT=str(server.port),
        # The console channel of the shipped config insists on it.
        SERVER__PUBLIC_URL="http://127.0.0.1:8080",
    )
    return await scene.started(environ, before=island.before, host=island.there)


@contextlib.asynccontextmanager
async def mail_server(scene: Scene, address: str) -> AsyncIterator[SmtpSandbox]:
    """Run a mail server on another address than the loopback's."""
    async with SmtpSandbox(scene.inbox, host=address, allow_remote=True) as server:
        yield server


@trial(
    "F-06",
    "the provider cannot be reached",
    inject="in a network namespace: routes unreachable, prohibit and blackhole to the mail server, one after the other",
    accept="transient each time, no crash; every code arrives once there is a route",
    engines=(SQLITE,),
    needs=(NETWORK,),
)
async def no_route(scene: Scene) -> Figures:
    with Island() as island:
        # The mail server has an address of its own, so that its route alone can go.
        provider = island.here.rpartition(".")[0] + ".77"
        works("ip", "addr", "add", f"{provider}/32", "dev", "lo")
        scene.stack.callback(works, "ip", "addr", "del", f"{provider}/32", "dev", "lo")
        island.do(f"ip route add {provider} via {island.here}")
        async with mail_server(scene, provider) as server:
            node = await castaway(scene, island, server)
            load = await scene.load(node, ttl=300)
            for place, kind in enumerate(("unreachable", "prohibit", "blackhole")):
                island.do(f"ip route replace {kind} {provider}")
                await load.run(3, rate=20, first=place * 3)
                # Four tries take 3.5 s at least: nobody has used them up when there is a route again.
                await asyncio.sleep(0.7)
            island.do(f"ip route replace {provider} via {island.here}")
            healed = time.monotonic()
            await scene.arrived(load, 40)
            recovery = time.monotonic() - healed
            outcomes = {outcome for promise in load.promises.values() for _, outcome, _ in await load.outcomes(promise)}
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=25.0,
        others={"outcomes": " and ".join(sorted(map(str, outcomes)))},
        held={"transient, then sent": outcomes == {"transient", "sent"}, "it lives": node.runs},
    )


@trial(
    "F-07",
    "the network is a trickle",
    inject="in a network namespace: a token bucket of 64 kbit/s on the way out, 12 codes in 17 s",
    accept="every code arrives, no storm of timeouts: at most one attempt fails",
    engines=(SQLITE,),
    needs=(SHAPING,),
)
async def a_trickle(scene: Scene) -> Figures:
    with Island() as island:
        async with mail_server(scene, island.here) as server:
            node = await castaway(scene, island, server)
            load = await scene.load(node, ttl=120)
            island.do("tc qdisc add dev DEV root tbf rate 64kbit burst 2kb latency 2s")
            began = time.monotonic()
            await load.run(12, rate=0.7)
            await scene.arrived(load, 60)
            took = time.monotonic() - began
            unknown = await scene.store.count("SELECT count(*) FROM attempt WHERE outcome <> 'sent'")
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=unknown,
        others={"all sent after s": round(took, 1), "attempts that failed": unknown},
        held={"at most one timed out": unknown <= 1},
    )


@trial(
    "F-38",
    "the other end of a connection is gone without a word",
    inject="in a network namespace: the mail server's address answers nothing any more once connections stand",
    accept="no call hangs longer than its channel's timeout; a code arrives once it is back, or failed after four tries",
    engines=(SQLITE,),
    needs=(NETWORK,),
)
async def half_open(scene: Scene) -> Figures:
    with Island() as island:
        async with mail_server(scene, island.here) as server:
            node = await castaway(scene, island, server, CHANNELS__EMAIL__TIMEOUT="3")
            load = await scene.load(node, ttl=300)
            await load.run(5, rate=20)
            await scene.arrived(load, 10)
            # Packets to the mail server's port vanish, those of our requests do not.
            island.do(f"ip rule add to {island.here} dport {server.port} blackhole")
            await load.run(5, rate=20, first=5)
            await asyncio.sleep(5)
            hung = await scene.store.count(
                f"SELECT count(*) FROM attempt WHERE outcome IS NULL AND started_at < {time.time() - 4}"
            )
            island.do(f"ip rule del to {island.here} dport {server.port} blackhole")
            healed = time.monotonic()
            # Four tries are what a channel gets, and a connection that is refused at once takes no time of them.
            failed = await scene.told(load)
            await scene.arrived(load, 40, silent=failed)
            recovery = time.monotonic() - healed
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        expected_silent=failed,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=recovery,
        others={"hung": hung, "told to have failed": len(failed)},
        held={"no attempt hangs": hung == 0, "it lives": node.runs, "not all failed": len(failed) < len(load.promises)},
    )


class Names(asyncio.DatagramProtocol):
    """A name server on 127.0.0.53 that answers, refuses to know, fails or keeps silent: ``mode`` says which."""

    CODES: ClassVar[Mapping[str, int]] = {"NXDOMAIN": 3, "SERVFAIL": 2, "answer": 0}

    def __init__(self) -> None:
        self.mode = "silent"
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        # The loop's transports are none by class, only by what they do.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question with 127.0.0.1 or a fault (RFC 1035, 4.1)."""
        self.asked += 1
        if self.mode == "silent":
            return
        end = data.index(b"\0", 12) + 5
        address = self.mode == "answer" and data[end - 4 : end - 2] == b"\0\x01"
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | self.CODES[self.mode], 1, int(address), 0, 0)
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04" + socket.inet_aton("127.0.0.1") if address else b""
        self._transport.sendto(head + data[12:end] + record, addr)


@contextlib.asynccontextmanager
async def names() -> AsyncIterator[Names]:
    """Run the name server. Raises ``CannotInjectError`` where its place is taken."""
    loop = asyncio.get_running_loop()
    try:
        transport, server = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.53", 53))
    except OSError as error:
        raise CannotInjectError(f"127.0.0.53:53 cannot be had: {error.strerror}") from None
    try:
        yield server
    finally:
        transport.close()


@trial(
    "F-13",
    "names do not resolve",
    inject="a name server in a mount namespace's resolv.conf that says NXDOMAIN, then SERVFAIL, is silent, then answers",
    accept="the gateway answers others meanwhile within 0.5 s; transient; every code arrives afterwards",
    engines=(SQLITE,),
    needs=(MOUNTS,),
)
async def no_names(scene: Scene) -> Figures:
    resolv = scene.folder / "resolv.conf"
    await asyncio.to_thread(resolv.write_text, "nameserver 127.0.0.53\noptions timeout:2 attempts:1\n")
    inside = ("unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh")
    async with names() as server:
        node = await scene.started(scene.by_email(CHANNELS__EMAIL__HOST="mail.faults.test"), before=inside)
        load = await scene.load(node, ttl=300)
        stalls: list[float] = []
        watching = asyncio.create_task(watched(load, stalls))
        for place, mode in enumerate(("NXDOMAIN", "SERVFAIL", "silent")):
            server.mode = mode
            await load.run(3, rate=10, first=place * 3)
            # Four tries take 3.5 s at least: nobody has used them up when names resolve again.
            await asyncio.sleep(0.6)
        server.mode = "answer"
        healed = time.monotonic()
        await scene.arrived(load, 40)
        recovery = time.monotonic() - healed
        watching.cancel()
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            recovery=recovery,
            others={"questions": server.asked, "slowest answer ms": round(max(stalls) * 1000)},
            held={"the loop is not held up": max(stalls) < 0.5, "it asked": server.asked > 0, "it lives": node.runs},
        )


async def watched(load: Load, stalls: list[float]) -> None:
    """Ask a gateway again and again how it is, and note how long each answer takes."""
    while True:
        began = time.monotonic()
        await load.fetch("/healthz")
        stalls.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


def contexts() -> Iterator[tuple[str, ssl.SSLContext]]:
    """Return what a mail server with bad TLS shows, by what is wrong with it; and the authority that is trusted."""
    now = dt.datetime.now(dt.UTC)
    past = {"not_before": now - dt.timedelta(days=9), "not_after": now - dt.timedelta(days=2)}
    yield "expired", _shown(TRUSTED.issue_cert("127.0.0.1", not_after=past["not_after"], not_before=past["not_before"]))
    yield "another host's", _shown(TRUSTED.issue_cert("elsewhere.example.org"))
    yield "by nobody we trust", _shown(trustme.CA().issue_cert("127.0.0.1"))


class OldTls:
    """A mail server that speaks TLS 1.1 at most, in a thread: asyncio's drop the alert a failed handshake ends with."""

    #: As a sandbox's server counts them; nothing gets past the handshake.
    deliveries = 0

    def __init__(self, certificate: trustme.LeafCert) -> None:
        self._context = _shown(certificate)
        with warnings.catch_warnings():
            # That they are deprecated is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._context.minimum_version = ssl.TLSVersion.TLSv1
            self._context.maximum_version = ssl.TLSVersion.TLSv1_1
        # OpenSSL refuses the signatures of TLS 1.1 above this level.
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    async def __aenter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        # To close it alone would leave the thread waiting.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                self._shake(self._listening.accept()[0])

    def _shake(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # an SSLError is one: no client of ours gets further
            self._context.wrap_socket(connection, server_side=True).close()
            self.deliveries += 1


TRUSTED = trustme.CA()


def _shown(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@trial(
    "F-14",
    "a provider's TLS is not to be trusted",
    inject="mail servers whose certificate has expired, is another host's, is nobody's, and one that speaks TLS 1.1 only",
    accept="nothing is sent to them; the next channel takes over at once; misconfigured; an ERROR line",
    engines=(SQLITE,),
)
async def bad_tls(scene: Scene) -> Figures:
    faulty, settings = await untrusted(scene)
    async with Provider(scene.inbox) as provider:
        route = [*(f"tls{place}" for place in range(len(faulty))), "sms"]
        node = await scene.started(
            scene.by_email(settings, provider.settings("sms"), SERVICES__DEFAULT__CHANNELS=str(route).replace("'", '"'))
        )
        load = await scene.load(node, ttl=60)
        reasons = {}
        for place, name in enumerate(faulty):
            to = {"email": f"tls{place}@example.org", "phone": mobile(place)}
            promise = await load.ask(place, to=to, channels=[f"tls{place}", "sms"])
            assert promise is not None
            await scene.until(lambda place=place: bool(scene.inbox.to(mobile(place))), 10)  # type: ignore[misc]
            reasons[name] = (await load.outcomes(promise))[0][1:]
        sent = sum(server.deliveries for server in faulty.values())
        errors = node.said_in_log().count('"level":"error"')
        refused = {f"{name}: misconfigured": found == ("permanent", "misconfigured") for name, found in reasons.items()}
        return figures(
            [],
            [],
            others={"sent in spite of it": sent, "ERROR lines": errors},
            held={
                **refused,
                "nothing is sent": sent == 0,
                "the next channel takes over": len(scene.inbox.letters) == len(faulty),
                "an ERROR line": errors > 0,
            },
        )


async def untrusted(scene: Scene) -> tuple[dict[str, SmtpSandbox | OldTls], dict[str, str]]:
    """Start a mail server for each kind of bad TLS; return them by that, and the settings of a channel to each."""
    authority = scene.folder / "authority.pem"
    TRUSTED.cert_pem.write_to_path(str(authority))
    settings: dict[str, str] = {}
    faulty: dict[str, SmtpSandbox | OldTls] = {}
    for name, context in contexts():
        modern = SmtpSandbox(scene.inbox, tls_context=context, implicit_tls=True)
        faulty[name] = await scene.stack.enter_async_context(modern)
    old = OldTls(TRUSTED.issue_cert("127.0.0.1"))
    faulty["TLS 1.1 at most"] = await scene.stack.enter_async_context(old)
    for place, server in enumerate(faulty.values()):
        options = {
            "ADAPTER": "email",
            "HOST": "127.0.0.1",
            "PORT": str(server.port),
            "TLS": "tls",
            "FROM": "codes@example.com",
            "CA_CERTIFICATES": str(authority),
        }
        settings |= {f"CHANNELS__TLS{place}__{option}": value for option, value in options.items()}
    return faulty, settings
