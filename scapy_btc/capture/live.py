# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames from live interfaces, through Scapy's listening sockets."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..errors import CaptureError

SNAPLEN = 262_144
"""Bytes read of a frame: offloading makes them far longer than any wire carries."""
BUFFER = 32 << 20
"""Bytes that the kernel keeps while we are busy."""
_SOL_PACKET, _PACKET_STATISTICS, _SO_RCVBUFFORCE = 263, 6, 33
_AWAY = (errno.ENETDOWN, errno.ENODEV, errno.ENXIO)
"""What an interface says that is down or gone."""
_LINKTYPES = {"Ether": 1, "IP": 101, "IPv6": 101, "CookedLinux": 113, "CookedLinuxV2": 276, "Loopback": 0}

RIGHTS = ("no right to capture: be root, or `setcap cap_net_raw+eip` the Python that runs this, "
          "or pipe: sudo tcpdump -i any -w - tcp | scapy-btc read -")


class LiveFrames:
    """Iterates over the frames that pass interfaces: (number, time_ns, linktype, bytes, original length).

    :param interfaces: their names; none, or `any`, means all that are up
    :param bpf: a capture filter as tcpdump has it; needs libpcap
    :ivar names: the interfaces that are listened on
    :ivar dropped: frames that the kernel threw away because we were too slow, known after `close`

    Raises CaptureError when an interface cannot be listened on.
    """

    def __init__(self, interfaces: Sequence[str] = (), bpf: str | None = None) -> None:
        from scapy.config import conf
        from scapy.layers import l2  # noqa: F401  (the link layers must be known before sockets are opened)

        self.dropped = 0
        self._sockets: list[Any] = []
        everywhere = not interfaces or "any" in interfaces
        wanted = [i.name for i in conf.ifaces.values() if i.is_valid()] if everywhere else list(interfaces)
        names = []
        for name in wanted:
            try:
                opened = conf.L2listen(iface=name, filter=bpf)
            except PermissionError:
                self.close()
                raise CaptureError(f"{name}: {RIGHTS}") from None
            except Exception as error:  # Scapy raises what it finds: OSError, ValueError, Scapy_Exception
                if everywhere and getattr(error, "errno", None) in _AWAY:
                    continue
                self.close()
                raise CaptureError(f"{name}: cannot listen: {error}") from error
            with suppress(OSError):
                opened.ins.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
            _dropped(opened)  # before the filter and the buffer were there
            self._sockets.append(opened)
            names.append(name)
        if not names:
            raise CaptureError("no interface is up")
        self.names = tuple(names)

    def __iter__(self) -> Iterator[tuple[int, int, int, bytes, int]]:
        number = 0
        while self._sockets:
            ready, _, _ = select.select(self._sockets, [], [], 1.0)
            for opened in ready:
                try:
                    cls, data, seconds = opened.recv_raw(SNAPLEN)
                except OSError as error:
                    if error.errno in _AWAY:  # told once; frames come again when it is up again
                        continue
                    raise CaptureError(f"{opened.iface}: {error.strerror}") from error
                linktype = _LINKTYPES.get(cls.__name__) if cls else None
                if not data or linktype is None:
                    continue
                number += 1
                when = time.time_ns() if seconds is None else int(float(seconds) * 1e9)
                yield number, when, linktype, data, len(data)

    def close(self) -> None:
        """Stop listening."""
        for opened in self._sockets:
            self.dropped += _dropped(opened)
            opened.close()
        self._sockets = []


def _dropped(opened: Any) -> int:
    """Frames that were thrown away since this was asked last."""
    with suppress(OSError, AttributeError, struct.error):
        return int(struct.unpack("II", opened.ins.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1])
    return 0
