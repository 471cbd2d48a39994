# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage-guided fuzzing: python tests/fuzz/fuzz.py TARGET --seconds N

Targets: framing, packets, payloads, frames, files, encrypted. Seeds are the known answers and the recordings; an input
that breaks a promise is left as `crash-...` in the current folder, and given as an argument it is tried again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import atheris
import orjson

with atheris.instrument_imports(include=["scapy_btc"]):
    from scapy.config import conf
    from scapy.packet import NoPayload

    from scapy_btc.all import BTC
    from scapy_btc.bip324.keylog import KeyLog
    from scapy_btc.bip324.keys import new_key
    from scapy_btc.bip324.transport import ResponderTransport, V2Options, V2Transport
    from scapy_btc.capture.bytesource import ByteSource
    from scapy_btc.capture.link import LINK_TYPES
    from scapy_btc.capture.message import Message, StreamEvent
    from scapy_btc.capture.pcapng import pcapng_frames
    from scapy_btc.capture.reader import read
    from scapy_btc.capture.records import event_record, message_record
    from scapy_btc.capture.streams import StreamTable
    from scapy_btc.errors import BTCError
    from scapy_btc.layers.registry import lookup, messages, summary_line
    from scapy_btc.messages.catalogue import short_ids
    from scapy_btc.networks import MAINNET, REGTEST
    from scapy_btc.wire.events import Event, Frame, Gap, Skipped, Truncated, Unrecognised
    from scapy_btc.wire.framing import V1Decoder
    from scapy_btc.wire.hashes import checksum
    from scapy_btc.wire.header import message_name

TESTS = Path(__file__).parent.parent
PCAPS = TESTS.parent / "pcaps"
MAGICS = (MAINNET.magic, REGTEST.magic)
NAMES = [cls.msgtype.encode() for cls in messages()]
LINKS = [*LINK_TYPES, 147]


def of_wire(command: bytes, payload: bytes, magic: bytes = MAINNET.magic) -> bytes:
    return magic + command[:12].ljust(12, b"\0") + len(payload).to_bytes(4, "little") + checksum(payload) + payload


# Each target takes the bytes of one input and raises when a promise is broken.


def framing(data: bytes) -> None:
    """Every byte is in one event, events do not overlap, no split changes them, little is held."""
    source = atheris.FuzzedDataProvider(data)
    pieces: list[bytes | int] = []
    while source.remaining_bytes():
        kind = source.ConsumeIntInRange(0, 9)
        size = source.ConsumeIntInRange(0, 300)
        if kind == 0:
            pieces.append(size)  # a hole
        elif kind < 6:
            command = NAMES[source.ConsumeIntInRange(0, len(NAMES) - 1)]
            whole = of_wire(command, source.ConsumeBytes(size), MAGICS[kind == 5])
            pieces.append(whole[: source.ConsumeIntInRange(0, len(whole))] if kind == 4 else whole)
        else:
            pieces.append(source.ConsumeBytes(size))
    step = 1 + len(data) % 7
    whole, split = list(decoded(pieces, 1 << 20)), list(decoded(pieces, step))
    assert whole == split, (whole, split)
    fed = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    told = end = 0
    for event in whole:
        if isinstance(event, (Frame, Skipped)):
            assert event.start >= end, whole
            end = event.end
            told += event.end - event.start
        elif isinstance(event, Truncated):
            assert event.start >= end, whole
            told += event.received
            end = event.start + event.received
        else:
            assert isinstance(event, (Gap, Unrecognised))
    assert told == fed, (told, fed, whole)


def decoded(pieces: list[bytes | int], step: int) -> Iterator[Event]:
    decoder = V1Decoder()
    fed = 0
    for piece in pieces:
        if isinstance(piece, int):
            yield from decoder.gap(piece)
            continue
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            fed += len(part)
            yield from decoder.feed(part)
            assert decoder.held <= 2 * fed  # once more while a message is in doubt
    yield from decoder.close()


def packets(data: bytes) -> None:
    """`BTC(...)` never raises, not even with the debug dissector, and every byte is in it."""
    if not data:
        return  # that is how Scapy makes a packet with defaults
    packet = BTC(data)
    assert bytes(packet) == data, packet.command()
    packet.summary()
    packet.show(dump=True)
    layer = packet
    while not isinstance(layer, NoPayload):
        assert type(layer).__name__ != "Raw"
        layer = layer.payload


def payloads(data: bytes) -> None:
    """Everything that is said of a message: fields, findings, summary, what follows from it, JSON."""
    name, payload = NAMES[data[0] % len(NAMES)] if data else b"tx", data[1:]
    command = name[:12].ljust(12, b"\0")
    frame = Frame(MAINNET.magic, message_name(command), command, len(payload), b"", payload, 0, len(payload), "none")
    told(Message(0, "a", "b", 0, MAINNET, "log", name.decode(), payload, "none", (1, 1), frame))
    cls = lookup(name.decode())
    assert cls and summary_line(cls, payload).isprintable()
    packets(of_wire(name, payload))


def told(item: Message | StreamEvent) -> None:
    if isinstance(item, Message):
        record = message_record(item, derived=True, payload=True)
        assert bytes.fromhex(record["payload"]) == item.payload
        item.quick_findings  # noqa: B018
        orjson.dumps(record)
    else:
        assert item.text
        orjson.dumps(event_record(item))


def frames(data: bytes) -> None:
    """Reassembly of captured frames, mutated and in any order, fed one by one and many at once."""
    source = atheris.FuzzedDataProvider(data)
    taken = []
    for number in range(1, source.ConsumeIntInRange(1, 40)):
        linktype, raw = RECORDED[source.ConsumeIntInRange(0, len(RECORDED) - 1)]
        if source.ConsumeIntInRange(0, 15) == 0:
            linktype, raw = LINKS[source.ConsumeIntInRange(0, len(LINKS) - 1)], source.ConsumeBytes(80)
        raw = bytearray(raw)
        first = 14 if linktype == 1 else 0  # read() does not look at the protocol that Ethernet names
        for _ in range(source.ConsumeIntInRange(0, 3)):
            if len(raw) > first:
                raw[source.ConsumeIntInRange(first, min(len(raw) - 1, 80))] = source.ConsumeIntInRange(0, 255)
        kept = bytes(raw[: source.ConsumeIntInRange(0, len(raw))] if source.ConsumeIntInRange(0, 7) == 0 else raw)
        taken.append((number, source.ConsumeIntInRange(0, 1 << 40), linktype, kept, len(raw)))
    one, many = (StreamTable(keylog=KeyLog(PCAPS / "core-v2-regtest.keylog")) for _ in range(2))
    items = [item for frame in taken for item in one.feed(*frame)] + one.close()
    fast = [*many.read((n, t, link, raw, 0, len(raw), size) for n, t, link, raw, size in taken), *many.close()]
    assert [same(item) for item in items] == [same(item) for item in fast]
    for item in items:
        told(item)


def same(item: Message | StreamEvent) -> tuple[object, ...]:
    if isinstance(item, Message):
        return item.source, item.destination, item.connection, item.payload, item.frame, item.checksum
    return item.event, item.bytes, item.connection, item.source, item.reason


def files(data: bytes) -> None:
    """Every reader ends well or with an error of ours."""
    for source in (io.BytesIO(data), io.BytesIO(gzip.compress(data, 1)) if len(data) % 8 == 0 else None):
        if source is None:
            continue
        try:
            with read(source, events=True) as reader:
                for item in islice(reader, 500):
                    told(item)
        except BTCError as error:
            assert "\n" not in str(error)


def encrypted(data: bytes) -> None:
    """The v2 transport, in both roles, up to the key and after it: whatever comes, it is bounded and raises nothing."""
    source = atheris.FuzzedDataProvider(data)
    ours = V2Transport(REGTEST, source.ConsumeBool(), short_ids(), V2Options(key=KEY, garbage=b""), Random(1))
    peer = V2Transport(REGTEST, not ours.initiating, short_ids(), V2Options(key=KEY, garbage=b""), Random(1))
    node = ResponderTransport(REGTEST, short_ids(), V2Options(key=KEY, garbage=b""), Random(1))
    if source.ConsumeBool():
        ours.receive(peer.to_send())
        peer.receive(ours.to_send())
    fed = ours.held
    while source.remaining_bytes():
        piece = source.ConsumeBytes(source.ConsumeIntInRange(0, 300))
        if source.ConsumeBool():
            peer.send(of_wire(b"ping", piece))
            piece = peer.to_send() + piece
        fed += len(piece)
        assert all(frame.msgtype == b"ping" for frame in ours.receive(piece))
        node.receive(piece)
        assert ours.held <= fed and node.held <= fed


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (framing, packets, payloads, frames, files, encrypted)
}
KEY = new_key(bytes(31) + b"\1")
RECORDED: list[tuple[int, bytes]] = []


def recorded() -> Iterator[tuple[int, bytes]]:
    for name in ("every-message.pcapng", "core-v1-regtest.pcapng", "core-v2-regtest.pcapng"):
        with open(PCAPS / name, "rb") as file:
            for _, _, linktype, buffer, start, end, _ in islice(pcapng_frames(ByteSource(file, name)), 400):
                yield linktype, bytes(buffer[start:end])


def seeds(target: str) -> Iterator[bytes]:
    vectors = [
        (path.stem.encode(), bytes.fromhex(vector["payload"]))
        for path in sorted((TESTS / "vectors/messages").glob("*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))
        if "payload" in vector
    ]
    if target in ("framing", "packets"):
        yield from (of_wire(name, payload) for name, payload in vectors if len(payload) < 5000)
    elif target == "payloads":
        places = {name: place for place, name in enumerate(NAMES)}
        yield from (bytes([places[name]]) + payload for name, payload in vectors if name in places)
    elif target in ("frames", "encrypted"):
        yield from (bytes([7, seed]) * 40 for seed in range(40))
    else:
        for path in sorted(PCAPS.rglob("*")):
            if path.is_file() and path.suffix in (".pcapng", ".pcap", ".gz", ".dat") and path.stat().st_size < 60_000:
                yield path.read_bytes()
                if path.suffix == ".gz":
                    yield gzip.decompress(path.read_bytes())[:6000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("inputs", nargs="*", help="files that are tried once, instead of fuzzing")
    options = parser.parse_args()
    conf.debug_dissector = True
    RECORDED.extend(recorded())
    if options.inputs:
        for name in options.inputs:
            TARGETS[options.target](Path(name).read_bytes())
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(options.target)):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        limits = [f"-max_total_time={options.seconds}", "-timeout=20", "-rss_limit_mb=3000", "-max_len=8192"]
        atheris.Setup([sys.argv[0], *limits, corpus], TARGETS[options.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
