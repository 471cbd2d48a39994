# SPDX-License-Identifier: GPL-2.0-or-later
"""Live interfaces: what counts as dropped."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from scapy_btc.capture.live import LiveFrames


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing needs root")
def test_frames_that_the_filter_does_not_take_are_not_dropped() -> None:
    stop, sent = threading.Event(), threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, socket.create_server(("127.0.0.1", 0)) as sink:
            while not stop.is_set():
                for _ in range(100):
                    sender.sendto(bytes(1000), ("127.0.0.1", sink.getsockname()[1]))
                sent.set()

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        assert sent.wait(10)
        dropped = []
        for _ in range(20):
            frames = LiveFrames(["lo"], "tcp port 1")
            frames.close()
            dropped.append(frames.dropped)
    finally:
        stop.set()
        flooding.join(10)
    assert dropped == [0] * 20
