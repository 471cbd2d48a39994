# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections of asyncio programs: against each other, and against peers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scapy_btc.all import BTC, BTCPing, BTCPong, BTCVerack, BTCVersion
from scapy_btc.bip324.transport import V2Options, V2Transport
from scapy_btc.errors import Disconnected, HandshakeError, Refused, TimedOut, TooMuch, WrongNetwork
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.net import connection as module
from scapy_btc.net.connection import Connection, open_connection, remote_of
from scapy_btc.peer.options import PeerOptions

Treat = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OPTIONS = PeerOptions(handshake_timeout=5)
GREETING = bytes(BTC(magic="regtest") / BTCVersion()) + bytes(BTC(magic="regtest") / BTCVerack())


def with_server(treat: Treat, use: Callable[[int], Awaitable[Any]]) -> Any:
    """The result of `use(port)` while a server treats its connections as told."""
    async def run() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await treat(reader, writer)
            except (OSError, Disconnected):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await asyncio.wait_for(use(server.sockets[0].getsockname()[1]), 20)
        finally:
            server.close()

    return asyncio.run(run())


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Our own side of an inbound connection: agrees, and answers what the rules ask for."""
    async with Connection(reader, writer, OPTIONS, outbound=False) as served:
        await served.handshake()
        async for _ in served.messages():
            pass


def test_handshake_and_ping() -> None:
    seen: list[tuple[Any, bool]] = []

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS,
                                         observer=lambda packet, sent: seen.append((packet.msgtype, sent))) as opened:
            version = await opened.handshake()
            assert version.user_agent == OPTIONS.user_agent and opened.address == f"127.0.0.1:{port}"
            await opened.send(BTCPing(nonce=7))
            packet: Any = await opened.receive(5)
            while packet.msgtype != "pong":
                packet = await opened.receive(5)
            assert packet.nonce == 7
            assert opened.counts["pong"] == 1

    with_server(polite, use)
    assert seen[0] == ("version", True) and ("verack", False) in seen and seen[-1] == ("pong", False)


def test_both_ends_are_told_their_addresses() -> None:
    """As the sockets have them: the receiver's address of each `version` is where its reader sits."""
    told: list[tuple[str, int]] = []

    async def tells(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with Connection(reader, writer, OPTIONS, outbound=False) as served:
            address = (await served.handshake()).receiver_address
            told.append((address.ip, address.port))
            await served.receive(5)

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            address = (await opened.handshake()).receiver_address
            ours = opened._writer.get_extra_info("sockname")
            assert (address.ip, address.port) == ours
            await opened.send(BTCPing(nonce=7))
            while (await opened.receive(5)).msgtype != "pong":
                pass
            assert ours[0] == "127.0.0.1" and told == [("127.0.0.1", port)]

    with_server(tells, use)
    assert remote_of(("fe80::1%eth0", 8333, 0, 2)) == ("fe80::1", 8333)
    assert remote_of("") is None  # of a socket that has no ends


def test_liveness_is_kept_and_its_loss_noticed() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        while await reader.read(1000):
            pass

    async def use(port: int) -> None:
        options = PeerOptions(ping_interval=0.1, ping_timeout=0.3)
        async with await open_connection("127.0.0.1", port, options) as opened:
            await opened.handshake()
            async for _ in opened.messages():
                pass

    with pytest.raises(TimedOut, match=r"no pong within 0.3 s"):
        with_server(deaf, use)


@pytest.mark.parametrize(("sent", "error"), [
    (b"", Disconnected),
    (GREETING[:100], Disconnected),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n" + bytes(40), HandshakeError),
    (bytes(BTC(magic="mainnet") / BTCVersion()), WrongNetwork),
    (bytes(BTC(magic="regtest") / BTCVersion(version=100)), HandshakeError),
])
def test_what_is_no_handshake(sent: bytes, error: type[Exception]) -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        await reader.read(1000)

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            await opened.handshake()

    with pytest.raises(error):
        with_server(treat, use)


def test_silence_is_bounded() -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, PeerOptions(handshake_timeout=0.2)) as opened:
            await opened.handshake()

    with pytest.raises(TimedOut, match=r"no handshake within 0.2 s"):
        with_server(treat, use)


def test_a_drip_does_not_stretch_the_time() -> None:
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in GREETING:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            await opened.receive(0.2)  # a whole message takes 2 s

    with pytest.raises(TimedOut):
        with_server(treat, use)


def test_nobody_listens() -> None:
    async def use(port: int) -> None:
        await open_connection("127.0.0.1", 1, OPTIONS)

    with pytest.raises(Refused, match=r"^127\.0\.0\.1:1: "):
        with_server(polite, use)


def test_a_peer_that_reads_nothing_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_TIMEOUT", 0.3)

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await asyncio.sleep(5)

    large = BTC(magic="regtest", msgtype="large") / bytes(4_000_000)

    async def wait(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            await opened.handshake()
            for _ in range(100):
                await opened.send(large)

    with pytest.raises(TimedOut, match=r"read nothing for 0.3 s"):
        with_server(treat, wait)

    async def post(port: int) -> int:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            await opened.handshake()
            for count in range(100):
                if opened._writer.transport.is_closing():
                    return count
                opened.post(large)
            return 100

    assert with_server(treat, post) < 15


def test_a_pong_does_not_come_from_nowhere() -> None:
    """Wrong nonces do not count as answers."""
    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        for nonce in range(20):
            writer.write(bytes(BTC(magic="regtest") / BTCPong(nonce=nonce)))
            await asyncio.sleep(0.05)

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, PeerOptions(ping_interval=0.1, ping_timeout=0.4)) as opened:
            await opened.handshake()
            async for _ in opened.messages():
                pass

    with pytest.raises(TimedOut):
        with_server(treat, use)


def test_who_says_much_does_not_keep_others_from_their_turn() -> None:
    flood = bytes(BTC(magic="regtest") / BTCPong(nonce=1)) * 10_000
    open_ones: list[Connection] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = Connection(reader, writer, OPTIONS, outbound=False)
        open_ones.append(served)
        async for _ in served.messages():
            pass

    def heard() -> int:
        return sum(each.counts["pong"] for each in open_ones)

    async def use(port: int) -> int:
        loud, quiet = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        loud[1].write(GREETING + flood)
        quiet[1].write(GREETING)
        while len(open_ones) < 2 or not all(each.peer.version for each in open_ones) or not heard():
            await asyncio.sleep(0)
        before = heard()
        quiet[1].write(bytes(BTC(magic="regtest") / BTCPing(nonce=7)))
        await quiet[0].readuntil(b"pong")
        after = heard()
        for _, writer in (loud, quiet):
            writer.close()
        assert before < 10_000
        return after - before

    assert with_server(keep, use) < 100  # 2,000 come with one read


@pytest.mark.parametrize("decoys", [(1_000_000,) * 5, (4_000_013,)])
def test_decoys_are_no_message_however_many(decoys: tuple[int, ...]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport = V2Transport(OPTIONS.network, False, short_ids())
        async with Connection(reader, writer, OPTIONS, outbound=False, transport=transport) as served:
            await served.handshake()
            async for _ in served.messages():
                pass

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS,
                                         transport=V2Options(decoys_between=decoys)) as opened:
            await opened.handshake()
            await opened.send(BTCPing(nonce=7))
            packet: Any = await opened.receive(10)
            assert packet.nonce == 7

    with_server(serve, use)


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = b"\xfa\xbf\xb5\xdablock".ljust(16, b"\0") + (5_000_000).to_bytes(4, "little") + bytes(4)
        writer.write(GREETING + header)
        for _ in range(80):
            writer.write(bytes(65_536))
            await writer.drain()

    async def use(port: int) -> None:
        async with await open_connection("127.0.0.1", port, OPTIONS) as opened:
            await opened.handshake()
            with pytest.raises(TooMuch, match=r"a message of more than 4,000,000 bytes"):
                await opened.receive(10)

    with_server(huge, use)
