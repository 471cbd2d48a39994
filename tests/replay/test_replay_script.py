# SPDX-License-Identifier: GPL-2.0-or-later
"""Which connection is chosen, which side is which, and what of a recording cannot be played."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conversations import CLIENT_END, SERVER_END, conversation, script_of
from recordings import ENCRYPTED, INDEX, PCAPS, items_of, path_of

from scapy_btc.all import BTCGetAddr, BTCPing, BTCVerack, BTCVersion
from scapy_btc.capture.message import Message, StreamEvent
from scapy_btc.capture.reader import read
from scapy_btc.errors import CaptureError
from scapy_btc.replay import script as module
from scapy_btc.replay.script import CLIENT, SERVER, load

HANDSHAKE = ((">", BTCVersion()), ("<", BTCVersion()), ("<", BTCVerack()), (">", BTCVerack()))


def loaded(name: str, side: str = CLIENT, connection: int | None = None) -> module.Script:
    return load(items_of(name), side, connection)


def test_sides() -> None:
    script = script_of(*HANDSHAKE)
    assert (script.ours, script.theirs, script.outbound, script.to_send) == (CLIENT_END, SERVER_END, True, 2)
    script = script_of(*HANDSHAKE, (">", BTCGetAddr()), side=SERVER)
    assert (script.ours, script.theirs, script.outbound, script.to_send) == (SERVER_END, CLIENT_END, False, 2)


@pytest.mark.parametrize(("connection", "client"), [
    (0, "127.0.0.1:46264"), (1, "127.0.0.1:46278"), (2, "127.0.0.1:46294"), (3, "127.0.0.1:46310")])
def test_the_client_is_who_is_not_at_the_networks_port(connection: int, client: str) -> None:
    """In connection 2 the node speaks first."""
    assert loaded("bcoin-regtest.pcapng", CLIENT, connection).ours == client
    assert loaded("bcoin-regtest.pcapng", SERVER, connection).ours == "127.0.0.1:18444"


def test_of_other_ports_the_first_who_speaks_is_the_client() -> None:
    messages = [replace(m, source=m.source.replace(":18444", ":1234"), destination=m.destination.replace(
        ":18444", ":1234")) for m in conversation(*HANDSHAKE)]
    assert load(messages).ours == CLIENT_END


def test_the_first_connection_with_a_handshake_is_the_default() -> None:
    script = loaded("broken-midstream.pcap.gz")
    assert {message.connection for message in script.messages} == {1}
    assert len(script.messages) == 75 and not script.notes


def test_a_message_capture_has_sessions_one_after_the_other() -> None:
    once = [replace(m, transport="log") for m in conversation(*HANDSHAKE, (">", BTCPing(nonce=1)))]
    assert len(load(once + once).messages) == 5
    assert len(load([*once, conversation((">", BTCVersion()))[0]]).messages) == 6  # in clear text it is one session
    with read(PCAPS / "core-message-capture", events=True, network="regtest") as reader:
        script = load(reader, SERVER)
    assert script.ours == "node" and script.theirs == "127.0.0.1:43372" and len(script.messages) == 279


def lost(source: str, event: str = "gap") -> StreamEvent:
    return StreamEvent(event, 1000, 0, 0, source, "", "", (1, 1))


def test_what_is_lost_in_the_middle_of_the_played_side() -> None:
    messages = conversation(*HANDSHAKE)
    with pytest.raises(CaptureError, match=f"of what {CLIENT_END} said, 1,000 bytes in the middle are not on record"):
        load([*messages[:3], lost(CLIENT_END), *messages[3:]])
    assert load([*messages[:3], lost(CLIENT_END, "decoy"), *messages[3:]]).notes == []


def test_what_is_lost_elsewhere_is_told() -> None:
    messages = conversation(*HANDSHAKE)
    note, = load([*messages[:3], lost(CLIENT_END), *messages[3:]], SERVER).notes
    assert note == f"connection 0: of what {CLIENT_END} said, 1,000 bytes are not on record, and cannot be compared"
    note, = load([*messages, lost(CLIENT_END, "truncated")]).notes
    assert note == f"connection 0: of what {CLIENT_END} said, 1,000 bytes are not on record"


@pytest.mark.parametrize(("name", "side", "connection", "reason"), [
    ("broken-midstream.pcap.gz", CLIENT, 0, "how 127.0.0.1:46264 began is not on record"),
    ("broken-one-way.pcap.gz", CLIENT, 0, "127.0.0.1:46264 says nothing on record"),
    ("broken-one-way.pcap.gz", CLIENT, None, "no connection whose handshake is recorded"),
    ("broken-loss.pcap.gz", CLIENT, 0, "in the middle are not on record: it cannot be played"),
    ("bcoin-regtest.pcapng", CLIENT, 4, "there is no message of connection 4"),
    ("core-blocks", CLIENT, None, "no connection whose handshake is recorded"),
])
def test_what_cannot_be_played(name: str, side: str, connection: int | None, reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        loaded(name, side, connection)


def test_one_side_alone() -> None:
    script = loaded("broken-one-way.pcap.gz", SERVER, 0)
    assert script.to_send == len(script.messages) and "nothing is waited for or compared" in script.notes[0]


def test_a_capture_that_is_cut_short_is_played_as_far_as_it_goes() -> None:
    with read(PCAPS / "broken-cut.pcap", events=True) as reader:
        script = load(reader)
    assert len(script.messages) == INDEX["broken-cut.pcap"]["messages"]
    assert any("cut" in note or "ends" in note for note in script.notes)


def test_what_is_encrypted() -> None:
    for name in ENCRYPTED:
        assert loaded(name).to_send
        for connection, why in (None, "no connection whose handshake"), (0, "there is no message of connection 0"):
            with read(path_of(name), events=True) as reader, pytest.raises(CaptureError, match=f"{why}.*: encrypted, "):
                load(reader, CLIENT, connection)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 100_000)
    with pytest.raises(CaptureError, match="too much to be played"):
        load(conversation(*HANDSHAKE, *[("<", BTCPing(nonce=n)) for n in range(100)]))


def test_no_recording_crashes() -> None:
    for name in INDEX:
        connections = {m.connection for m in items_of(name) if isinstance(m, Message)}
        for connection in (None, *sorted(connections)):
            for side in (CLIENT, SERVER):
                try:
                    script = load(items_of(name), side, connection)
                except CaptureError:
                    continue
                assert script.to_send and all(m.connection == script.messages[0].connection for m in script.messages)
