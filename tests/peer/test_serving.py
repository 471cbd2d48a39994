# SPDX-License-Identifier: GPL-2.0-or-later
"""What the node announces and to whom, how it catches up, and where it draws the line, as Bitcoin Core does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

import pytest
from served import NOW, Client, Pair, names, packet, serving, spend, spend_of

from scapy_btc.all import (
    BTC,
    BTCAddr,
    BTCAddrV2,
    BTCBlock,
    BTCBlockTxn,
    BTCCmpctBlock,
    BTCFeeFilter,
    BTCFilterAdd,
    BTCFilterClear,
    BTCFilterLoad,
    BTCGetAddr,
    BTCGetBlocks,
    BTCGetBlockTxn,
    BTCGetCFCheckpt,
    BTCGetCFHeaders,
    BTCGetCFilters,
    BTCGetData,
    BTCGetHeaders,
    BTCHeaders,
    BTCInv,
    BTCInvVector,
    BTCMempool,
    BTCNetAddrV2,
    BTCSendAddrV2,
    BTCSendCmpct,
    BTCSendHeaders,
    BTCSendPackages,
    BTCTimedNetAddr,
    BTCTx,
    BTCVerack,
    BTCVersion,
    BTCWtxidRelay,
)
from scapy_btc.errors import Misbehaved
from scapy_btc.peer import answering, fetching, session
from scapy_btc.peer.behaviour import Peer
from scapy_btc.peer.known_addresses import Address
from scapy_btc.peer.serving import NODE_OPTIONS, Serving
from scapy_btc.protocol import InvType, ServiceFlags
from scapy_btc.wire.compactsize import encode
from scapy_btc.wire.hashes import hash_hex, sha256d

ANYTHING = BTCFilterLoad(filter=b"\xff", n_hash_funcs=1)
NOTHING = BTCFilterLoad(filter=b"\0", n_hash_funcs=1)


def mined(node: Serving, count: int = 1, extra: bytes = b"") -> list[str]:
    return [hash_hex(node.mine(node_script(node), NOW + number, extra).connected[-1].hash)
            for number in range(1, count + 1)]


def node_script(node: Serving) -> bytes:
    return next(node.store.tip.transactions()[0].outputs()).script


def hashes(message: Any) -> list[str]:
    if isinstance(message, BTCHeaders):
        return [entry.block_hash for entry in message.headers]
    return [vector.hash for vector in message.inventory]


def asks_up_to(node: Serving, height: int) -> BTCGetHeaders:
    return BTCGetHeaders(locator=[node.store.at(height).hash])


# Announcing blocks


def test_new_blocks_are_announced_as_the_peer_wants() -> None:
    node = serving(3)
    plain, by_headers, low, high = (Client(node) for _ in range(4))
    by_headers.say(BTCSendHeaders())
    low.say(BTCSendCmpct(announce=0, version=2))
    high.say(BTCSendCmpct(announce=1, version=2))
    for client in (plain, by_headers, low, high):
        client.say(asks_up_to(node, 3))
    tip, = mined(node)
    (inv,), (headers,), (also_inv,), (compact,) = (client.news() for client in (plain, by_headers, low, high))
    assert names([inv, headers, also_inv, compact]) == ["inv", "headers", "inv", "cmpctblock"]
    assert hashes(inv) == hashes(headers) == [tip] and compact.block_hash == tip
    assert [client.news() for client in (plain, by_headers, low, high)] == [[]] * 4
    assert [vector.type for vector in inv.inventory] == [InvType.MSG_BLOCK]
    two = mined(node, 2)
    assert hashes(high.news()[0]) == two[1:]  # two at once are no compact block
    assert hashes(by_headers.news()[0]) == two  # it has the one that was announced before
    low.say(asks_up_to(node, node.store.height))
    low.news()
    low.say(BTCSendCmpct(announce=1, version=1))  # of a version that nobody speaks any more
    mined(node)
    assert names(low.news()) == ["inv"]


def test_headers_connect_to_what_the_peer_has() -> None:
    node = serving(3)
    behind, up_to_date = Client(node), Client(node)
    for client in (behind, up_to_date):
        client.say(BTCSendHeaders())
    up_to_date.say(asks_up_to(node, 3))
    two = mined(node, 2)
    assert hashes(up_to_date.news()[0]) == two
    assert names(behind.news()) == ["inv"]
    nine = mined(node, 9)
    announced, = up_to_date.news()
    assert announced.msgtype == "inv" and hashes(announced) == nine[-1:]  # more than 8
    up_to_date.say(asks_up_to(node, node.store.height))
    assert hashes((mined(node), up_to_date.news())[1][0]) == [node.store.tip.hash[::-1].hex()]


def test_headers_connect_after_a_reorganisation() -> None:
    node = serving(5)
    client = Client(node)
    client.say(BTCSendHeaders())
    rival = serving(store=node.store.copy())
    mined(node)
    client.say(asks_up_to(node, 6))
    client.news()
    branch = mined(rival, 3, b"rival")
    bringer = Client(node)
    for height in (6, 7, 8):
        bringer.say(BTCBlock(rival.store.at(height).payload))
    assert [hashes(message) for message in client.news()] == [branch]
    client.say(BTCInv(inventory=[BTCInvVector(type="MSG_BLOCK", hash=node.store.at(1).hash)]))  # old news
    client.say(BTCInv(inventory=[BTCInvVector(type="MSG_BLOCK", hash=beside(node))]))  # of another branch
    mined(node)
    assert names(client.news()) == ["headers"]


def test_what_is_known_of_a_peer_survives_a_reorganisation() -> None:
    node = serving(5)
    client = Client(node)
    client.say(BTCSendHeaders())
    rival = serving(store=node.store.copy())
    mined(node, 2)
    client.say(asks_up_to(node, 7))
    mined(rival, 3, b"rival")
    for height in (6, 7, 8):
        Client(node).say(BTCBlock(rival.store.at(height).payload))
    assert names(client.news()) == ["headers"]
    client.say(BTCGetHeaders(locator=[node.store.at(3).hash], stop=node.store.at(4).hash))  # to look at them again
    mined(node)
    assert names(client.news()) == ["headers"]


def test_who_brought_a_block_is_not_told_of_it() -> None:
    node, other = serving(3), serving(3)
    mined(other)
    miner, bystander = Client(node), Client(node)
    for client in (miner, bystander):
        client.say(BTCSendHeaders())
        client.say(asks_up_to(node, 3))
    assert miner.say(BTCBlock(other.store.tip.payload)) == []
    assert node.store.tip.hash == other.store.tip.hash
    assert miner.news() == [] and names(bystander.news()) == ["headers"]


def test_nothing_is_said_before_the_handshake_is_done() -> None:
    node = serving(101)
    peer = Peer(NODE_OPTIONS, outbound=False)
    early = node.join(peer)
    for message in (asks_up_to(node, 0), BTCVersion(), asks_up_to(node, 0), BTCSendHeaders()):
        came = packet(message)
        peer.receive(came, NOW)
        assert list(node.receive(early, came, NOW)) == []
    mined(node)
    node.submit(spend(node.store, 1))
    assert list(node.news(early)) == []
    came = packet(BTCVerack())
    peer.receive(came, NOW)
    assert list(node.receive(early, came, NOW)) == [] and early.wants_headers
    assert names(list(node.news(early))) == ["inv", "inv"]


# Announcing transactions


def test_a_transaction_is_announced_as_agreed_and_only_to_those_who_want_it() -> None:
    node = serving(101)
    by_txid, by_wtxid = Client(node), Client(node, None, BTCWtxidRelay())
    without, costly = Client(node, BTCVersion(relay=0)), Client(node)
    light, dry = Client(node, BTCVersion(relay=0)), Client(node)
    costly.say(BTCFeeFilter(feerate=10**6))
    light.say(ANYTHING)
    dry.say(NOTHING)
    tx = spend(node.store, 1)
    node.submit(tx)
    told = [[(vector.type, vector.hash) for message in client.news() for vector in message.inventory]
            for client in (by_txid, by_wtxid, light, without, costly, dry)]
    assert told == [[(InvType.MSG_TX, tx.txid)], [(InvType.MSG_WTX, tx.wtxid)], [(InvType.MSG_TX, tx.txid)], [], [], []]
    assert tx.txid != tx.wtxid
    late = Client(node)
    assert [hashes(message) for message in late.news()] == [[tx.txid]]
    costly.say(BTCFeeFilter(feerate=-1))  # no amount: the one before holds
    assert costly.say(BTCMempool()) == [] and hashes(late.say(BTCMempool())[0]) == [tx.txid]
    without.say(BTCFilterClear())
    node.submit(spend(node.store, 2))
    assert len(without.news()) == 1


def test_a_transaction_goes_round_and_does_not_come_back() -> None:
    node = serving(101)
    sender, other = Client(node), Client(node, None, BTCWtxidRelay())
    tx = spend(node.store, 1)
    request, = sender.say(BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=tx.txid)]))
    assert [(v.type, v.hash) for v in request.inventory] == [(InvType.MSG_WITNESS_TX, tx.txid)]
    assert sender.say(tx) == [] and node.pool.get(bytes.fromhex(tx.txid)[::-1])
    assert sender.news() == [] and [hashes(message) for message in other.news()] == [[tx.wtxid]]
    sent, = other.say(BTCGetData(inventory=[BTCInvVector(type="MSG_WTX", hash=tx.wtxid)]))
    bare, = other.say(BTCGetData(inventory=[BTCInvVector(type="MSG_TX", hash=tx.txid)]))
    assert bytes(sent) == bytes(tx) and bare.txid == tx.txid == bare.wtxid
    assert sender.say(BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=tx.txid)])) == []
    # announcements of the kind that was not agreed do not count
    assert other.say(BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash="ab" * 32)])) == []


def test_what_a_peer_has_is_not_announced_to_it() -> None:
    node = serving(103)
    announcer, sender, fetcher, reader = (Client(node) for _ in range(4))
    tx = spend(node.store, 1)
    announcer.say(BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=tx.txid)]))
    sender.say(tx)  # unasked
    fetcher.say(BTCGetData(inventory=[BTCInvVector(type="MSG_WITNESS_TX", hash=tx.txid)]))
    reader.say(BTCMempool())
    assert [client.news() for client in (announcer, sender, fetcher, reader)] == [[]] * 4
    node.submit(spend(node.store, 2))
    mined(node)
    assert names(announcer.news()) == ["inv"]  # the block only: what it holds waits for no block any more


def test_transactions_of_blocks_that_are_none_any_more_wait_again() -> None:
    node, rival = serving(101), serving(101)
    parent = spend(node.store, 1)
    for tx in (parent, spend_of(parent.txid, [1000])):
        node.submit(tx)
        mined(node)
    assert len(node.pool) == 0 and node.store.height == 103
    mined(rival, 3, b"rival")
    Pair(node, rival)
    assert node.store.height == 104 and len(node.pool) == 2


def test_a_transaction_is_taken_once_what_it_spends_is_there() -> None:
    node = serving(101)
    client = Client(node)
    parent = spend(node.store, 1)
    child = spend_of(parent.txid, [1000])
    announced = BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=child.txid)])
    for message in (child, parent):
        client.say(message)
    assert len(node.pool) == 1 and names(client.say(announced)) == ["getdata"]
    client.say(child)
    assert len(node.pool) == 2


def test_what_was_refused_is_not_asked_for_again_until_a_block_comes() -> None:
    node = serving(101)
    client = Client(node)
    wrong = spend(node.store, 50)  # of a coinbase that is too young
    announced = BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=wrong.txid)])
    assert names(client.say(announced)) == ["getdata"]
    client.say(wrong)
    assert len(node.pool) == 0 and client.say(announced) == []
    mined(node)
    assert names(client.say(announced)) == ["getdata"]


# Addresses


def test_addresses_are_told_once_and_only_to_who_connected() -> None:
    node = serving()
    for number in range(1200):
        node.state.addresses.add(Address.of(f"10.0.{number // 250}.{number % 250}", 8333), 9, NOW)
    old, new = Client(node), Client(node, None, BTCSendAddrV2())
    assert [(m.msgtype, len(m.addresses)) for m in old.say(BTCGetAddr())] == [("addr", 1000)]
    assert old.say(BTCGetAddr()) == []
    assert [(m.msgtype, len(m.addresses)) for m in new.say(BTCGetAddr())] == [("addrv2", 1000)]
    opened = Client(node, outbound=True)
    assert "getaddr" in names(opened.greeting) and opened.say(BTCGetAddr()) == []


def test_fresh_addresses_go_on_to_two_others() -> None:
    node = serving()
    clients = [Client(node, None, BTCSendAddrV2()) for _ in range(5)]
    for client in clients:
        client.say(BTCGetAddr())
    fresh = BTCNetAddrV2(timestamp=NOW - 60, services=9, address="192.0.2.1", port=8333)
    stale = BTCNetAddrV2(timestamp=NOW - 6000, services=9, address="192.0.2.2", port=8333)
    clients[0].say(BTCAddrV2(addresses=[fresh, stale]))
    told = told_addresses(node, clients)
    assert not told[0] and sum(map(len, told)) == 2
    assert {str(m.addresses[0].address) for messages in told for m in messages} == {"192.0.2.1"}
    assert len(node.state.addresses) == 2
    clients[1].say(BTCAddrV2(addresses=[fresh]))
    clients[0].say(BTCAddrV2(addresses=[replace_port(fresh, port) for port in range(1, 12)]))
    assert not any(told_addresses(node, clients))  # nothing new; more than 10 at once are an answer
    for port in range(12, 15):
        clients[0].say(BTCAddrV2(addresses=[replace_port(fresh, port)]))
    told = told_addresses(node, clients)
    assert sum(len(message.addresses) for messages in told for message in messages) == 6 and max(map(len, told)) == 1


def told_addresses(node: Serving, clients: list[Client]) -> list[list[Any]]:
    """What each of them is told when time has passed."""
    told = list(node.tick(NOW))
    return [[message for whose, message in told if whose is client.session] for client in clients]


def replace_port(entry: Any, port: int) -> Any:
    other = entry.copy()
    other.port = port
    return other


def test_an_address_of_the_future_counts_as_old() -> None:
    node = serving()
    client = Client(node)
    client.say(BTCAddr(addresses=[BTCTimedNetAddr(timestamp=NOW + 10_000, ip="192.0.2.1", port=1),
                                  BTCTimedNetAddr(timestamp=0, ip="192.0.2.2", port=1)]))
    told, = Client(node).say(BTCGetAddr())
    assert {entry.timestamp for entry in told.addresses} == {NOW - 5 * 24 * 3600}


def test_addresses_of_unknown_networks_are_not_kept() -> None:
    node = serving()
    Client(node).say(BTCAddrV2(addresses=[BTCNetAddrV2(timestamp=NOW, network_id=99, address=b"12345", port=1),
                                          BTCNetAddrV2(timestamp=NOW, network_id=1, address=b"12345", port=1)]))
    assert len(node.state.addresses) == 0


def test_who_told_an_address_is_not_told_it() -> None:
    node = serving()
    clients = [Client(node) for _ in range(3)]
    for client in clients:
        client.say(BTCGetAddr())
    for number in range(10):
        clients[0].say(BTCAddr(addresses=[BTCTimedNetAddr(timestamp=NOW, services=1, ip=f"192.0.2.{number}", port=1)]))
        assert [len(messages) for messages in told_addresses(node, clients)] == [0, 1, 1]


# Asking


def test_where_an_answer_stops() -> None:
    node = serving(20)
    client = Client(node)
    locator = [bytes(32), node.store.at(5).hash, node.store.at(2).hash]
    stop = node.store.at(9).hash
    wanted = [hash_hex(node.store.at(height).hash) for height in range(6, 10)]
    assert hashes(client.say(BTCGetHeaders(locator=locator, stop=stop))[0]) == wanted
    assert hashes(client.say(BTCGetBlocks(locator=locator, stop=stop))[0]) == wanted[:-1]
    assert hashes(client.say(BTCGetHeaders(stop=stop))[0]) == wanted[-1:]
    assert hashes(client.say(BTCGetHeaders(locator=[bytes(32)]))[0])[0] == hash_hex(node.store.at(1).hash)
    assert client.say(BTCGetBlocks(locator=[node.store.tip.hash])) == []


def test_old_clients_go_on_after_five_hundred_blocks() -> None:
    node = serving(503)
    client = Client(node)
    first, = client.say(BTCGetBlocks(locator=[node.store.at(0).hash]))
    assert len(hashes(first)) == 500
    asked = [BTCGetData(inventory=[BTCInvVector(type="MSG_BLOCK", hash=hashes(first)[n])]) for n in (498, 499, 499)]
    assert [names(client.say(each)) for each in asked] == [["block"], ["block", "inv"], ["block"]]
    client.say(BTCGetBlocks(locator=[node.store.at(0).hash]))
    assert hashes(client.say(asked[1])[1]) == [hash_hex(node.store.tip.hash)]


def test_compact_blocks_are_for_the_last_ones() -> None:
    node = serving(30)
    client = Client(node)
    for height, compact, missing in ((30, "cmpctblock", "blocktxn"), (25, "cmpctblock", "blocktxn"),
                                     (24, "block", "blocktxn"), (20, "block", "blocktxn"), (19, "block", "block")):
        of = node.store.at(height).hash
        asked = BTCGetData(inventory=[BTCInvVector(type="MSG_CMPCT_BLOCK", hash=of)])
        assert names(client.say(asked)) == [compact]
        assert names(client.say(BTCGetBlockTxn(block_hash=of, indexes=[0]))) == [missing]


# Catching up


def test_two_nodes_come_to_one_chain() -> None:
    long, short = serving(2_100), serving()
    talk = Pair(short, long)
    assert short.store.tip.hash == long.store.tip.hash and talk.counts["headers"] == 2 + 1  # two pages, and none back
    assert talk.counts["block"] == 2_100
    mined(short)
    talk.run()
    assert short.store.tip.hash == long.store.tip.hash
    node_tx = spend(short.store, 1)
    short.submit(node_tx)
    talk.run()
    assert len(long.pool) == 1
    mined(long)
    talk.run()
    assert len(short.pool) == len(long.pool) == 0 and short.store.tip.hash == long.store.tip.hash
    assert talk.counts["block"] == 2_100 and talk.counts["cmpctblock"] == 2


def test_the_branch_with_more_work_wins() -> None:
    one, other = serving(30, seed=1), serving(40, seed=2)
    talk = Pair(one, other)
    assert one.store.tip.hash == other.store.tip.hash and one.store.height == 40
    talk.close()
    mined(one, 3)
    mined(other, 5, b"other")
    Pair(one, other)
    assert one.store.tip.hash == other.store.tip.hash and one.store.height == 45


def test_who_announces_blocks_and_does_not_send_them_is_given_up() -> None:
    source, node = serving(20), serving()
    lazy = Client(node)
    answer = lazy.say(answering.headers_of([source.store.at(height) for height in range(1, 21)]))
    assert names(answer) == ["getdata"] and len(hashes(answer[0])) == 16
    good = Client(node)
    assert good.say(answering.headers_of([source.store.at(height) for height in range(1, 21)])) == []  # on their way
    assert list(node.tick(NOW + 30)) == []
    asked = list(node.tick(NOW + fetching.BLOCK_TIMEOUT + 1))
    assert [(whose is good.session, len(hashes(message))) for whose, message in asked] == [(True, 16)]


def test_a_block_that_came_compact_and_cannot_be_made() -> None:
    source, node = serving(101), serving(101)
    assert source.store.tip.hash == node.store.tip.hash
    for height in (1, 2):
        source.submit(spend(source.store, height))
    tip, = mined(source)
    client = Client(node)
    client.say(BTCSendCmpct(version=2))
    asked, = client.say(answering.headers_of([source.store.tip]))
    assert [(v.type, v.hash) for v in asked.inventory] == [(InvType.MSG_CMPCT_BLOCK, tip)]
    served = Client(source)
    compact, = served.say(asked)
    missing, = client.say(compact)
    assert names([compact, missing]) == ["cmpctblock", "getblocktxn"] and missing.indexes == [1, 0]
    rest, = served.say(missing)
    swapped = BTCBlockTxn(block_hash=rest.block_hash, transactions=[rest.transactions[1], rest.transactions[0]])
    whole, = client.say(swapped)  # a block, but not the one: the peer may not be to blame
    assert [(v.type, v.hash) for v in whole.inventory] == [(InvType.MSG_WITNESS_BLOCK, tip)]
    assert client.say(rest) == []  # nobody waits for it any more
    assert client.say(served.say(whole)[0]) == [] and hash_hex(node.store.tip.hash) == tip


# Where Bitcoin Core disconnects


def many(cls: Any, count: int) -> Any:
    return cls(encode(count) + bytes(36) * count)


def wrong_block(node: Serving) -> BTCBlock:
    node_copy = Serving(NODE_OPTIONS, node.store.copy(), Random(5))
    mined(node_copy)
    block = BTCBlock(node_copy.store.tip.payload)
    block.transactions = [block.transactions[0], block.transactions[0]]
    block.transactions_count = None
    return BTCBlock(bytes(block))


def beside(node: Serving) -> bytes:
    """The hash of a block that the node has, but that never was in its chain."""
    rival = serving(1, seed=7)
    node.store.add(rival.store.tip.payload)
    return rival.store.tip.hash


def without_work(node: Serving) -> bytes:
    header = bytearray(node.store.at(3).header)
    for nonce in range(100):
        header[76] = nonce
        if sha256d(header)[31] > 0x7F:
            break
    return bytes(header)


CROSSED: list[tuple[str, Callable[[Serving], Any]]] = [
    ("inv of 50,001", lambda node: many(BTCInv, 50_001)),
    ("getdata of 50,001", lambda node: many(BTCGetData, 50_001)),
    ("locator of 102", lambda node: BTCGetHeaders(locator=[bytes(32)] * 102)),
    ("locator of 102", lambda node: BTCGetBlocks(locator=[bytes(32)] * 102)),
    ("2,001 headers", lambda node: BTCHeaders(headers=[node.store.at(0).header + b"\0"] * 2001)),
    ("follow each other", lambda node: answering.headers_of([node.store.at(1), node.store.at(3)])),
    ("without proof of work", lambda node: BTCHeaders(headers=[without_work(node) + b"\0"])),
    ("1,001 addresses", lambda node: BTCAddr(addresses=[bytes(30)] * 1001)),
    ("at most 36000 bytes", lambda node: BTCFilterLoad(filter=bytes(36_001))),
    ("at most 50 hash", lambda node: BTCFilterLoad(n_hash_funcs=51)),
    ("without a filter", lambda node: BTCFilterAdd(data=b"1")),
    ("not known", lambda node: BTCGetCFHeaders(stop_hash=beside(node))),
    ("sendcmpct with 2", lambda node: BTCSendCmpct(announce=2)),
    ("wtxidrelay after verack", lambda node: BTCWtxidRelay()),
    ("sendaddrv2 after verack", lambda node: BTCSendAddrV2()),
    ("outside the block", lambda node: BTCGetBlockTxn(block_hash=node.store.tip.hash, indexes=[1])),
    ("outside the block", lambda node: BTCGetBlockTxn(block_hash=node.store.tip.hash, indexes=[])),
    ("type 1 ", lambda node: BTCGetCFilters(filter_type=1, stop_hash=node.store.tip.hash)),
    ("not known", lambda node: BTCGetCFCheckpt(stop_hash=bytes(32))),
    ("from height 6 to 5", lambda node: BTCGetCFilters(start_height=6, stop_hash=node.store.tip.hash)),
    ("bad-cb-multiple", wrong_block),
    ("without proof of work", lambda node: BTCCmpctBlock(header=without_work(node), prefilled=[])),
]


@pytest.mark.parametrize(("reason", "message"), CROSSED, ids=[f"{n} {row[0]}" for n, row in enumerate(CROSSED)])
def test_what_ends_a_connection(reason: str, message: Callable[[Serving], Any]) -> None:
    node = serving(5)
    client = Client(node)
    with pytest.raises(Misbehaved, match=reason):
        client.say(message(node))


@pytest.mark.parametrize("message", [
    many(BTCInv, 50_000), many(BTCGetData, 50_000), BTCGetHeaders(locator=[bytes(32)] * 101),
    BTCAddr(addresses=[bytes(30)] * 1000), BTCHeaders(), BTCFilterLoad(filter=bytes(36_000), n_hash_funcs=50),
    BTCGetHeaders(stop="ab" * 32), BTCGetBlockTxn(block_hash="ab" * 32, indexes=[5]), BTCBlockTxn(),
    BTCSendPackages(), BTCVersion(), BTCVerack(),
    BTCSendCmpct(announce=1, version=1), BTCFeeFilter(feerate=-1), BTCTx(),
], ids=lambda message: message.msgtype)
def test_what_does_not(message: Any) -> None:
    node = serving(5)
    client = Client(node)
    client.say(message)
    assert names(client.say(asks_up_to(node, 0))) == ["headers"]


def test_an_element_that_is_too_long_for_a_filter() -> None:
    client = Client(serving(1))
    client.say(ANYTHING)
    client.say(BTCFilterAdd(data=bytes(520)))
    with pytest.raises(Misbehaved, match="filteradd of 521 bytes"):
        client.say(BTCFilterAdd(data=bytes(521)))


def test_limits_of_compact_filters() -> None:
    node = serving(2_050)
    client = Client(node)
    tip = node.store.tip.hash
    assert len(client.say(BTCGetCFilters(start_height=1_051, stop_hash=tip))) == 1_000
    with pytest.raises(Misbehaved):
        client.say(BTCGetCFilters(start_height=1_050, stop_hash=tip))
    headers, = client.say(BTCGetCFHeaders(start_height=51, stop_hash=tip))
    assert len(headers.filter_hashes) == 2_000
    with pytest.raises(Misbehaved):
        client.say(BTCGetCFHeaders(start_height=50, stop_hash=tip))
    points, = client.say(BTCGetCFCheckpt(stop_hash=tip))
    assert points.filter_headers == [node.store.filter_header(node.store.at(height)) for height in (1000, 2000)]


@pytest.mark.parametrize("message", [BTCMempool(), ANYTHING, BTCFilterAdd(data=b"1"), BTCFilterClear()],
                         ids=lambda message: message.msgtype)
def test_bloom_filters_must_be_offered(message: Any) -> None:
    options = replace(NODE_OPTIONS, services=int(ServiceFlags.NODE_NETWORK))
    with pytest.raises(Misbehaved, match="not offered"):
        Client(serving(1, options)).say(message)


@pytest.mark.parametrize("message", [BTCInv(inventory=[BTCInvVector(type="MSG_TX")]), spend_of("ab" * 32, [1])],
                         ids=lambda message: message.msgtype)
def test_transactions_although_we_want_none(message: Any) -> None:
    with pytest.raises(Misbehaved, match="that we want none"):
        Client(serving(1, replace(NODE_OPTIONS, relay=False))).say(message)


# Nothing that a peer sends costs much


def test_answers_are_made_when_there_is_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    node = serving(1)
    client = Client(node)
    made = []
    monkeypatch.setattr(answering, "block_message", lambda payload: made.append(1) or BTCBlock(payload))
    vector = BTCInvVector(type="MSG_WITNESS_BLOCK", hash=node.store.tip.hash)
    came = packet(BTCGetData(encode(50_000) + bytes(vector) * 50_000))
    assert len(list(islice(node.receive(client.session, came, NOW), 3))) == 3 and len(made) == 3


def test_floods_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "WAITING", 5)
    node = serving(300)
    node.pool.max_count = 20
    node.state.addresses.limit = 100
    client, reads_nothing = Client(node), Client(node)
    client.session.known.limit = node.state.rejected.limit = 100
    random = Random(1)
    for number in range(30):
        client.say(BTCInv(inventory=[BTCInvVector(type="MSG_TX", hash=random.randbytes(32)) for _ in range(100)]))
        client.say(spend(node.store, 1 + number))
        client.say(spend_of(random.randbytes(32).hex(), [1]))
        client.say(spend(node.store, 290, fee=number))
        client.say(BTCAddr(addresses=[BTCTimedNetAddr(timestamp=NOW, ip=random.randbytes(16), port=1)] * 100))
        client.say(BTCInv(inventory=[BTCInvVector(type="MSG_BLOCK", hash=random.randbytes(32))]))
    other = serving(6_500, seed=9)
    for start in range(1, 6_500, 1_000):
        client.say(answering.headers_of([other.store.at(height) for height in range(start, min(start + 1000, 6501))]))
    assert 2_000 <= len(client.session.to_fetch) <= 4_000
    assert len(node.pool) == 20 and len(node.state.addresses) <= 100
    assert len(client.session.known) == 100 and len(node.state.rejected) <= 100
    assert len(reads_nothing.session.transactions) == 5 and len(client.session.asked) <= 16
    for number in range(20):
        rival = node.store.copy()
        rival.mine(b"", NOW, extra=bytes([number]))
        assert names(client.say(BTCCmpctBlock(header=rival.tip.header, shortids=[1], prefilled=[]))) == ["getblocktxn"]
    assert len(client.session.asked) <= 17
    client.say(answering.headers_of([other.store.at(height) for height in range(1, 11)]))
    client.say(answering.headers_of([other.store.at(height) for height in range(1, 13)]))
    assert len(client.session.to_fetch) == 12


def test_an_entry_of_a_long_inventory_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(serving())
    entries = b"".join((1).to_bytes(4, "little") + number.to_bytes(32, "little") for number in range(1, 50_001))
    made: list[object] = []
    init = BTCInvVector.__init__
    monkeypatch.setattr(BTCInvVector, "__init__",
                        lambda self, *of, **more: (made.append(self), init(self, *of, **more))[1])
    missing, = client.say(BTCGetData(encode(50_000) + entries))
    asked = client.say(BTCInv(encode(50_000) + entries))
    assert made == []
    assert names([missing, *asked]) == ["notfound", *["getdata"] * 50]
    assert missing.self_build() == encode(50_000) + entries
    with_witness = b"".join(b"\1\0\0\x40" + entries[p + 4:p + 36] for p in range(0, len(entries), 36))
    assert b"".join(each.self_build()[3:] for each in asked) == with_witness


def test_unreadable_messages_are_ignored() -> None:
    node = serving(3)
    client = Client(node)
    for raw in (b"", b"\xff" * 9, b"\x05" + bytes(36), random_bytes(500)):
        for name in ("inv", "getdata", "headers", "block", "tx", "cmpctblock", "getheaders", "filterload", "addrv2"):
            came = BTC(bytes(BTC(magic="regtest", msgtype=name) / raw))
            assert isinstance(list(node.receive(client.session, came, NOW)), list)
    assert names(client.say(asks_up_to(node, 0))) == ["headers"]


def random_bytes(count: int) -> bytes:
    return Random(3).randbytes(count)
