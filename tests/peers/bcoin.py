# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Bitcoin node for recordings and live tests: bcoin on regtest, loopback only, nothing kept on disk.

    with BcoinNode() as node:
        node.mine(110)
        client.connect(*node.address)

Set up once with ``npm ci --ignore-scripts`` in ``tests/peers/bcoin``; `missing` says what is not there.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, final

HERE = Path(__file__).parent / "bcoin"


class BcoinError(Exception):
    """bcoin is not installed, did not answer in time, or refused a request."""


def missing() -> str | None:
    """What keeps bcoin from starting here, as one line, or None."""
    if shutil.which("node") is None:
        return "node (Node.js 16 or newer) is not installed"
    if not (HERE / "node_modules" / "bcoin" / "package.json").is_file():
        return f"bcoin is not installed: run `npm ci --ignore-scripts` in {HERE}"
    return None


@final
class BcoinNode:
    """One bcoin process. Options are those at the top of ``bcoin/node.js`` (``port``, ``spv``, ``blockMode`` ...).

    Every call ends within `timeout` seconds, with `BcoinError` if there is no answer. The process ends with the
    ``with`` block, and also when this program dies, because its standard input is then closed.
    """

    def __init__(self, timeout: float = 30.0, **options: Any) -> None:
        self.timeout = timeout
        self.options = options
        self.host = "127.0.0.1"
        self.port: int | None = None
        self._count = 0
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where the node listens; an SPV node does not."""
        if self.port is None:
            raise BcoinError("this node does not listen")
        return self.host, self.port

    def __enter__(self) -> BcoinNode:
        reason = missing()
        if reason:
            raise BcoinError(reason)
        self._stderr = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            ["node", str(HERE / "node.js"), json.dumps(self.options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            ready = self._next(time.monotonic() + self.timeout)
            if ready.get("event") != "ready":
                raise BcoinError(f"bcoin did not start: {ready.get('error', ready)}")
        except BaseException:
            self._kill()
            raise
        self.host, self.port = ready["host"], ready["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            pass  # it is killed below
        finally:
            self._kill()

    def call(self, method: str, **params: Any) -> Any:
        """Any method of ``node.js`` by name."""
        assert self._process.stdin is not None
        self._count += 1
        try:
            self._process.stdin.write(json.dumps({"id": self._count, "method": method, "params": params}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise BcoinError(f"bcoin is gone: {self._complaint()}") from error
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._count:  # an answer to a call that timed out may still come
                break
        if "error" in answer:
            raise BcoinError(f"{method}: {answer['error']}")
        return answer["result"]

    def info(self) -> dict[str, Any]:
        """Height, tip, mempool (txids), peers, messages received by type and bcoin's latest complaints."""
        info: dict[str, Any] = self.call("info")
        return info

    def mine(self, blocks: int = 1, **params: Any) -> list[str]:
        """Mine to the node's own key; `transactions` (hex) are put in as they are, without the mempool."""
        hashes: list[str] = self.call("mine", blocks=blocks, **params)
        return hashes

    def pay(self, **params: Any) -> dict[str, str]:
        """Make a signed transaction and, unless ``relay=False``, put it into the mempool."""
        payment: dict[str, str] = self.call("pay", **params)
        return payment

    def connect(self, host: str, port: int) -> str:
        """Open a connection and wait for the handshake; returns the peer's address."""
        address: str = self.call("connect", host=host, port=port)
        self.wait(
            lambda info: any(peer["address"] == address and peer["handshake"] for peer in info["peers"]),
            f"a handshake with {address}",
        )
        return address

    def wait(self, met: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Wait until `met` holds for `info()`."""
        deadline = time.monotonic() + self.timeout
        while True:
            info = self.info()
            if met(info):
                return info
            if time.monotonic() > deadline:
                raise BcoinError(f"waited {self.timeout:g} s for {what}; last seen: {info}")
            time.sleep(0.02)

    def wait_height(self, height: int) -> dict[str, Any]:
        """Wait until the chain has grown to `height`."""
        return self.wait(lambda info: info["height"] >= height, f"height {height}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def _next(self, deadline: float) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise BcoinError(f"bcoin did not answer within {self.timeout:g} s") from None
        if answer is None:
            self._answers.put(None)
            raise BcoinError(f"bcoin ended: {self._complaint()}")
        return answer

    def _complaint(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-2000:].strip() or "it said nothing"

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._stderr.close()
