# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening TCP connections, directly or through a SOCKS5 proxy (Tor), blocking and for asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..chain.address import format_endpoint, parse_endpoint
from ..errors import FormatError, PeerError, ProxyDown, Refused, TimedOut
from .timeouts import timeout as limited

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextmanager
def told(host: str, port: int, timeout: float) -> Iterator[None]:
    """What goes wrong while connecting, as an error that names the host."""
    where = format_endpoint(host, port)
    if host.lower().rstrip(".").endswith(".onion"):  # a name that no DNS server may be asked for (RFC 7686)
        raise Refused(f"{where}: Tor addresses need a proxy, as 127.0.0.1:9050")
    try:
        yield
    except (TimeoutError, asyncio.TimeoutError):
        raise TimedOut(f"{where}: no connection within {timeout:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Refused(f"{where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What the system says; asyncio puts a text of its own into `strerror`."""
    if isinstance(error, socket.gaierror):
        return f"the name is not known: {error.strerror or error}"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def _proxy_failed(host: str, port: int, proxy: str, timeout: float, error: Exception) -> PeerError:
    from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

    if isinstance(error, ProxyConnectionError) and isinstance(error.__cause__, OSError):
        return _proxy_down(proxy, timeout, error.__cause__)
    # an answer without a code is not one about the target; a closed connection may be
    no_socks = isinstance(error, ProxyError) and error.error_code is None and hasattr(error.__cause__, "error_code")
    if no_socks or (isinstance(error, ValueError) and not isinstance(error, UnicodeError)):
        return _proxy_down(proxy, timeout, error)
    where = f"{format_endpoint(host, port)} by way of {proxy}"
    if isinstance(error, (ProxyTimeoutError, TimeoutError, asyncio.TimeoutError)):
        return TimedOut(f"{where}: no connection within {timeout:g} s")
    return Refused(f"{where}: {_reason(error)}")


def _proxy_down(proxy: str, timeout: float, error: Exception) -> ProxyDown:
    late = isinstance(error, (TimeoutError, asyncio.TimeoutError))
    return ProxyDown(f"no proxy at {proxy}: {f'no answer within {timeout:g} s' if late else _reason(error)}")


def dial(host: str, port: int, timeout: float, proxy: str | None = None) -> socket.socket:
    """A connected TCP socket.

    :param timeout: seconds; also the socket's own from then on
    :param proxy: "host:port" of a SOCKS5 proxy, which then resolves the name: also .onion

    Raises Refused, TimedOut; ProxyDown where the proxy is what fails.
    """
    if proxy:
        from python_socks import ProxyError
        from python_socks.sync import Proxy

        try:
            sock = Proxy.from_url(f"socks5://{proxy}", rdns=True).connect(host, port, timeout)
        except (ProxyError, OSError, ValueError) as error:
            raise _proxy_failed(host, port, proxy, timeout, error) from error
        sock.settimeout(timeout)
    else:
        with told(host, port, timeout):
            sock = socket.create_connection((host, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def open_streams(host: str, port: int, timeout: float, proxy: str | None = None) -> Streams:
    """Likewise for asyncio, which sets TCP_NODELAY by itself. Raises Refused, TimedOut, ProxyDown."""
    if proxy:
        from python_socks import ProxyError
        from python_socks.async_.asyncio import Proxy

        try:
            sock = await Proxy.from_url(f"socks5://{proxy}", rdns=True).connect(host, port, timeout)
        except (ProxyError, OSError, ValueError, asyncio.TimeoutError) as error:
            raise _proxy_failed(host, port, proxy, timeout, error) from error
        return await asyncio.open_connection(sock=sock)
    with told(host, port, timeout):
        async with limited(timeout):
            return await asyncio.open_connection(host, port)


async def reach_proxy(proxy: str, timeout: float) -> None:
    """Look whether there is a SOCKS5 proxy, before many nodes are dialled through it. Raises ProxyDown."""
    writer = None
    try:
        host, port = parse_endpoint(proxy)
        async with limited(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"\x05\x01\x00")  # version 5, one method: no authentication
            answer = await reader.readexactly(2)
    except asyncio.IncompleteReadError:
        answer = b""
    except (FormatError, OSError, UnicodeError, asyncio.TimeoutError) as error:
        raise _proxy_down(proxy, timeout, error) from error
    finally:
        if writer:
            writer.close()
    if answer != b"\x05\x00":
        raise ProxyDown(f"no proxy at {proxy}: it speaks no SOCKS5, or not without a password")
