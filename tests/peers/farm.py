# SPDX-License-Identifier: GPL-2.0-or-later
"""A farm of nodes on loopback that know each other sparsely, polite ones and bad ones, which measures who comes."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from scapy_btc.all import BTC, BTCAddr, BTCAddrV2, BTCNetAddrV2, BTCTimedNetAddr, BTCVerack, BTCVersion
from scapy_btc.bip324.transport import V2Options, V2Transport
from scapy_btc.messages.catalogue import short_ids
from scapy_btc.net.background import Background
from scapy_btc.net.node import BTCNode
from scapy_btc.net.scripting import CONNECT, DISCONNECT, Script, Step
from scapy_btc.net.transports import Choice
from scapy_btc.networks import REGTEST
from scapy_btc.peer.options import PeerOptions
from scapy_btc.protocol import ServiceFlags

NOW = int(time.time())
End = tuple[str, int]

SPEAKING = ("polite", "liar", "only-v1")
REACHED = (*SPEAKING, "endless", "speechless", "huge")
"""Kinds with which a handshake is possible."""
BAD = ("silent", "mute", "garbage", "closes", "liar", "endless", "drip", "flood", "speechless", "other-network", "huge")
BAD_V2 = {"v2-silent": None, "v2-garbage": None, "v2-terminator": V2Options(garbage=b"", wrong_terminator=True),
          "v2-tag": V2Options(wrong_tag=0), "v2-decoys": V2Options(decoys_first=(50_000,) * 30)}
"""Bad before the first message: a key and nothing, or garbage without end; what breaks BIP 324; 1.5 MB of decoys."""
TRANSPORTS: tuple[Choice, ...] = ("v1", "v2", "auto")
NOWHERE = [("8.8.8.8", 8333), ("10.0.0.1", 8333), ("192.0.2.7", 8333), ("127.250.0.1", 0), ("127.250.0.1", 1)]
"""What liars tell: places that a crawl of loopback must not dial, and the last, where nobody is."""


def raw(*messages: Any, network: str = "regtest") -> bytes:
    return b"".join(bytes(BTC(magic=network) / message) for message in messages)


def told(entries: Iterable[End], v2: bool, services: Mapping[End, int] | None = None) -> Any:
    """The message that tells addresses, with these services or 9."""
    said = [(host, port, (services or {}).get((host, port), 9)) for host, port in entries]
    if v2:
        return BTCAddrV2(addresses=[BTCNetAddrV2(timestamp=NOW, services=flags, address=host, port=port)
                                    for host, port, flags in said])
    return BTCAddr(addresses=[BTCTimedNetAddr(timestamp=NOW, services=flags, ip=host, port=port)
                              for host, port, flags in said])


@dataclass
class Planned:
    """A node of the farm: how it behaves, whom it knows."""

    number: int
    host: str
    kind: str
    knows: list[End] = field(default_factory=list)
    cut: int = 0
    """Bytes of its greeting after which one that `closes` does so."""

    @property
    def transport(self) -> Choice:
        """What it speaks; those that write their bytes past it speak v1."""
        if self.kind in BAD_V2:
            return "v2"
        if not self.number:
            return "auto"
        return TRANSPORTS[self.number % 3] if self.kind in ("polite", "liar", "speechless") else "v1"

    @property
    def services(self) -> int:
        return 9 if self.transport == "v1" else 9 | ServiceFlags.NODE_P2P_V2

    @property
    def services_told(self) -> int:
        """What others say: of one kind that it speaks v2, which is not so."""
        return self.services | (ServiceFlags.NODE_P2P_V2 if self.kind == "only-v1" else 0)

    @property
    def connections(self) -> int:
        """How many a visit takes, when it was not named."""
        return 2 if self.kind == "only-v1" else 1

    @property
    def agent(self) -> bytes:
        return b"/farm:%d/" % self.number

    @property
    def greeting(self) -> bytes:
        return raw(BTCVersion(user_agent=self.agent, start_height=self.number), BTCVerack())

    @property
    def reached(self) -> bool:
        return self.kind in REACHED

    def script(self, delay: float, services: Mapping[End, int] | None = None) -> tuple[str, Iterable[Step]]:
        """What it does instead of the usual: when which message comes, which steps.

        :param services: of those that it knows
        """
        match self.kind:
            case "v2-silent":
                return CONNECT, [random.Random(self.number).randbytes(64), 3600.0]
            case "v2-garbage":
                return CONNECT, repeat(random.Random(self.number).randbytes(5000))
            case "silent":
                return "version", []
            case "mute":
                return "version", [BTCVersion()]
            case "garbage":
                return "version", [random.Random(self.number).randbytes(5000)]
            case "closes":
                return "version", [self.greeting[:self.cut], DISCONNECT]
            case "drip":
                return "version", [step for byte in self.greeting for step in (bytes((byte,)), 0.4)]
            case "flood":
                return "version", repeat(bytes(BTC(magic="regtest", msgtype="nonsense")) * 100)
            case "other-network":
                return "version", [raw(BTCVersion(), network="mainnet")]
            case "huge":
                head = REGTEST.magic + b"block".ljust(12, b"\0") + (1 << 25).to_bytes(4, "little") + bytes(4)
                return "verack", [head, *repeat(bytes(50_000), 600)]
            case "speechless":
                return "getaddr", []
            case "endless":
                return "getaddr", repeat(raw(told([(f"127.200.0.{i % 50}", 1) for i in range(1000)], True)))
        known = self.knows + (NOWHERE if self.kind == "liar" else [])
        return "getaddr", [delay, told(known, self.number % 4 > 0, services)]

    def play(self, node: BTCNode, delay: float = 0.0, services: Mapping[End, int] | None = None) -> None:
        """Let a node behave so."""
        breaking = BAD_V2.get(self.kind)
        if breaking:
            node.when(CONNECT, spoken_as(breaking))
            return
        name, steps = self.script(delay, services)
        node.when(name, lambda packet, connection: steps)


def spoken_as(options: V2Options) -> Script:
    """What to do at once when somebody connects: break v2 so, and go on as usual."""
    def script(packet: Any, connection: Any) -> None:
        connection.transport = V2Transport(REGTEST, False, short_ids(), options)

    return script


def plan(count: int, bad: dict[str, int], seed: int = 1) -> list[Planned]:
    """Nodes that know each other sparsely: each is known to a random earlier one that speaks, and to few others.

    :param bad: how many there are of each kind of bad node; the others are polite
    """
    choose = random.Random(seed)
    kinds = [kind for kind, number in bad.items() for _ in range(number)]
    kinds += ["polite"] * (count - 1 - len(kinds))
    choose.shuffle(kinds)
    nodes = [Planned(i, f"127.77.{i // 250}.{1 + i % 250}", kind) for i, kind in enumerate(["polite", *kinds])]
    closing = [node for node in nodes if node.kind == "closes"]
    for position, node in enumerate(closing):
        node.cut = (len(node.greeting) - 1) * position // max(1, len(closing) - 1)
    return nodes


class Farm:
    """Runs planned nodes in a thread of its own, until closed.

    :param delay: seconds that polite nodes take to answer `getaddr`
    :ivar ends: (host, port) of the nodes, in the order of the plan
    :ivar starts: when connections came, by the monotonic clock
    :ivar most: connections that were open at the same time, at most
    :ivar visits: connections by the number of the node
    """

    def __init__(self, planned: list[Planned], delay: float = 0.0, seed: int = 2) -> None:
        self.planned, self.delay = planned, delay
        self._background = Background()
        self._nodes: list[BTCNode] = []
        self.forget()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.ends = [(node.host, port) for node in planned]
        self._acquaint(random.Random(seed))
        self._background.call(self._start())

    def forget(self) -> None:
        """Measure anew."""
        self.starts: list[float] = []
        self.visits: Counter[int] = Counter()
        self.open = self.most = 0

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exception: object) -> None:
        self._background.call(self._stop())
        self._background.close()

    def _acquaint(self, choose: random.Random) -> None:
        speaking = self.planned[:1]
        for node, end in list(zip(self.planned, self.ends, strict=True))[1:]:
            choose.choice(speaking).knows.append(end)
            if node.kind in SPEAKING:
                speaking.append(node)
        for node in speaking:
            node.knows += choose.sample(self.ends, 2)

    async def _start(self) -> None:
        services = {end: node.services_told for node, end in zip(self.planned, self.ends, strict=True)}
        for node, (host, port) in zip(self.planned, self.ends, strict=True):
            options = PeerOptions(services=node.services, user_agent=node.agent, handshake_timeout=10)
            made = BTCNode(host=host, port=port, options=options, transport=node.transport,
                           log=lambda line, number=node.number: self._log(number, line))
            node.play(made, self.delay, services)
            await made.start()
            self._nodes.append(made)

    async def _stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self._nodes))

    def _log(self, number: int, line: str) -> None:
        if line.endswith(" connected"):
            self.starts.append(time.monotonic())
            self.visits[number] += 1
            self.open += 1
            self.most = max(self.most, self.open)
        else:
            self.open -= 1
