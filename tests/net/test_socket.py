# SPDX-License-Identifier: GPL-2.0-or-later
"""`BTCStreamSocket` does what Scapy's own stream sockets do not."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from scapy.sendrecv import sniff

from scapy_btc.all import BTC, BTCBlock, BTCMalformed, BTCPing, BTCPong, BTCTx, BTCTxOut
from scapy_btc.errors import Disconnected, FormatError
from scapy_btc.net import socket as module
from scapy_btc.net.socket import BTCStreamSocket, open_socket
from scapy_btc.net.transports import Choice
from scapy_btc.networks import REGTEST

PAIR = tuple[BTCStreamSocket, socket.socket]


@pytest.fixture
def pair() -> Iterator[PAIR]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    wrapped = BTCStreamSocket(ours, REGTEST)
    yield wrapped, theirs
    wrapped.close()
    theirs.close()


def ping(nonce: int) -> BTC:
    return BTC(magic="regtest") / BTCPing(nonce=nonce)


def test_two_messages_in_one_segment(pair: PAIR) -> None:
    ours, theirs = pair
    theirs.sendall(bytes(ping(1)) + bytes(ping(2)))
    assert [ours.recv().nonce, ours.recv().nonce] == [1, 2]


def test_what_is_queued_is_selected(pair: PAIR) -> None:
    ours, theirs = pair
    theirs.sendall(bytes(ping(1)) + bytes(ping(2)))
    ours.recv()
    assert BTCStreamSocket.select([ours], 0) == [ours]
    ours.recv()
    assert BTCStreamSocket.select([ours], 0) == []


def test_one_message_in_single_bytes(pair: PAIR) -> None:
    ours, theirs = pair
    for byte in bytes(ping(7)):
        theirs.sendall(bytes([byte]))
    assert ours.recv().nonce == 7


def test_the_end(pair: PAIR) -> None:
    ours, theirs = pair
    theirs.sendall(bytes(ping(1)) + bytes(ping(2))[:30])
    theirs.close()
    assert ours.recv().nonce == 1
    with pytest.raises(EOFError):
        ours.recv()


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(100), b"\xfa\xbf\xb5\xda" + b"\xff" * 40])
def test_what_is_no_message_is_said(pair: PAIR, junk: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(junk)
    with pytest.raises(FormatError):
        ours.recv()


def test_a_bad_checksum_is_handed_on(pair: PAIR) -> None:
    ours, theirs = pair
    broken = bytearray(bytes(ping(1)))
    broken[20] ^= 1
    theirs.sendall(bytes(broken))
    assert " (bad, " in ours.recv().show(dump=True)


def test_a_broken_payload_is_handed_on(pair: PAIR) -> None:
    ours, theirs = pair
    theirs.sendall(bytes(BTC(magic="regtest", msgtype="ping") / b"\1\2\3"))
    assert BTCMalformed in ours.recv()


def block(size: int) -> BTC:
    outputs = [BTCTxOut(script=b"\x51" * 10_000) for _ in range(size // 10_011)]
    return BTC(magic="regtest") / BTCBlock(transactions=[BTCTx(outputs=outputs)])


def receive(pair: PAIR, size: int) -> float:
    """Seconds for a message whose header arrives alone."""
    ours, theirs = pair
    data = bytes(block(size))

    def send() -> None:
        theirs.sendall(data[:24])
        time.sleep(0.02)
        theirs.sendall(data[24:])

    sender = threading.Thread(target=send)
    start = time.perf_counter()
    sender.start()
    assert bytes(ours.recv()) == data
    sender.join()
    return time.perf_counter() - start


def test_large_messages_take_linear_time(pair: PAIR) -> None:
    small = min(receive(pair, 400_000) for _ in range(3))
    assert receive(pair, 4_000_000) < 11 * small + 1


def test_all_of_a_large_message_is_sent_also_with_a_timeout(pair: PAIR) -> None:
    ours, theirs = pair
    packet = block(3_900_000)
    received: list[bytes] = []

    def drain() -> None:
        time.sleep(0.1)
        while sum(map(len, received)) < len(packet):
            received.append(theirs.recv(1 << 16))

    reader = threading.Thread(target=drain)
    reader.start()
    assert ours.send(packet) == len(packet)
    reader.join(20)
    assert b"".join(received) == bytes(packet)


def answer(theirs: socket.socket) -> None:
    request = BTC(theirs.recv(100))
    theirs.sendall(bytes(ping(99)) + bytes(BTC(magic="regtest") / BTCPong(nonce=request.nonce)))


def test_a_message_gets_its_envelope(pair: PAIR) -> None:
    ours, theirs = pair
    responder = threading.Thread(target=answer, args=(theirs,))
    responder.start()
    reply = ours.sr1(BTCPing(nonce=5), timeout=5, verbose=False)
    responder.join(5)
    assert reply is not None and reply.nonce == 5 and reply.magic == REGTEST.magic


def test_scapys_own_functions_work(pair: PAIR) -> None:
    ours, theirs = pair
    responder = threading.Thread(target=answer, args=(theirs,))
    responder.start()
    reply = ours.sr1(ping(5), timeout=5, verbose=False)
    responder.join(5)
    assert reply is not None and reply.nonce == 5 and BTCPong in reply
    theirs.sendall(bytes(ping(1)) + bytes(ping(2)) + bytes(ping(3)))
    assert [p.nonce for p in sniff(opened_socket=ours, count=3, timeout=5)] == [1, 2, 3]


@pytest.mark.parametrize("transport", ["v2", "auto"])
def test_a_connection_that_is_reset_before_anything_is_sent(transport: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    dialled: list[socket.socket] = []

    def dial(host: str, port: int, timeout: float, proxy: str | None) -> socket.socket:
        ours = socket.create_connection((host, port), timeout)
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # a reset
        select.select([ours], [], [], 10)
        dialled.append(ours)
        return ours

    monkeypatch.setattr(module, "dial", dial)
    with listener:
        if transport == "v2":
            with pytest.raises(Disconnected, match="Connection reset by peer during the v2 handshake"):
                open_socket(*listener.getsockname(), REGTEST, transport="v2")
        else:
            open_socket(*listener.getsockname(), REGTEST).close()  # the second attempt says nothing by itself
    assert len(dialled) == (1 if transport == "v2" else 2) and all(sock.fileno() == -1 for sock in dialled)
