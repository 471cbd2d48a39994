# SPDX-License-Identifier: GPL-2.0-or-later
"""`sniff(session=BTCSession)` on captures, and live on the loopback interface."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.sendrecv import sniff

from scapy_btc.all import BTC, BTCPing, BTCPong, BTCSession
from scapy_btc.capture.live import LiveFrames
from scapy_btc.capture.reader import read, read_live
from scapy_btc.errors import CaptureError

PCAPS = Path(__file__).parent.parent.parent / "pcaps"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.parametrize("name", ["core-v1-regtest.pcapng", "broken-order.pcap.gz", "broken-loss-order-repeats.pcap.gz",
                                  "broken-wrap-ipv6.pcap.gz"])
def test_one_packet_for_each_message(name: str) -> None:
    packets = sniff(offline=str(PCAPS / name), session=BTCSession)
    messages = list(read(PCAPS / name))
    assert len(packets) == len(messages)
    for packet, message in zip(packets, messages, strict=True):
        below = packet[TCP].underlayer
        assert (below.src, packet[TCP].sport) == (message.source.rpartition(":")[0].strip("[]"),
                                                  int(message.source.rpartition(":")[2]))
        assert packet[BTC].msgtype == message.msgtype
        assert bytes(packet[BTC]) == message.frame_bytes
        assert abs(float(packet.time) - message.time_ns / 1e9) < 1e-5
    assert len({packet[TCP].dport for packet in packets}) > 1


def test_findings_are_comments() -> None:
    packets = sniff(offline=str(PCAPS / "broken-checksums.pcap.gz"), session=BTCSession)
    commented = Counter(comment for packet in packets for comment in packet.comments or ())
    assert commented[b"bad-checksum"] == sum(m.checksum == "bad" for m in read(PCAPS / "broken-checksums.pcap.gz")) > 0


def test_packets_that_are_not_bitcoins_give_nothing() -> None:
    assert not sniff(offline=[IP() / TCP(dport=80) / b"GET / HTTP/1.0\r\n\r\n"], session=BTCSession)


def test_prn_and_count_work() -> None:
    seen: list[Any] = []
    capture = str(PCAPS / "core-v1-regtest.pcapng")
    sniff(offline=capture, session=BTCSession, prn=lambda p: seen.append(p.summary()), count=5)
    assert len(seen) == 5 and " / BTC regtest / version 70016 /Satoshi:28.1.0/" in seen[0]


def conversation(stop: threading.Event) -> tuple[socket.socket, int]:
    """A server on a free port of the loopback interface that answers pings."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            while not stop.is_set() and (data := connection.recv(4096)):
                ping = BTC(data)
                connection.sendall(bytes(BTC(magic="regtest") / BTCPong(nonce=ping.nonce)))

    threading.Thread(target=serve, daemon=True).start()
    return server, server.getsockname()[1]


@pytest.mark.skipif(not ROOT, reason="capturing needs root")
def test_live_messages_of_the_loopback_interface_are_counted_once() -> None:
    stop = threading.Event()
    server, port = conversation(stop)
    frames = LiveFrames(["lo"])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.settimeout(10)
            for nonce in range(5):
                client.sendall(bytes(BTC(magic="regtest") / BTCPing(nonce=nonce)))
                client.recv(4096)
        found = []
        for message in read_live(frames):
            if str(port) in message.source or str(port) in message.destination:
                found.append((message.msgtype, message.packet.nonce))
            if len(found) == 10:
                break
    finally:
        frames.close()
        stop.set()
        server.close()
    assert sorted(found) == sorted([("ping", n) for n in range(5)] + [("pong", n) for n in range(5)])


@pytest.mark.skipif(not ROOT, reason="capturing needs root")
def test_an_interface_that_does_not_exist_is_one_error() -> None:
    with pytest.raises(CaptureError, match="nonexistent0"):
        LiveFrames(["nonexistent0"])
