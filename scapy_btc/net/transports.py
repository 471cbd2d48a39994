# SPDX-License-Identifier: GPL-2.0-or-later
"""Which transport a connection of ours has."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from ..bip324.keylog import append_key
from ..bip324.keys import EphemeralKey
from ..bip324.transport import ResponderTransport, V2Options, V2Transport
from ..errors import BTCError
from ..messages.catalogue import short_ids
from ..networks import Network
from ..wire.transport import Transport, V1Transport

Choice = Literal["auto", "v1", "v2"] | V2Options
"""auto: what the other end speaks; where we speak first, v2 and then, in another connection, v1. Options are for v2."""
KeyLogFile = str | os.PathLike[str] | None


def opened(choice: Choice, network: Network, keylog: KeyLogFile = None) -> Transport:
    """The transport of a connection that we open; with "auto" v2, whose `try_v1` tells whether to try again.

    :param keylog: file for the keys of v2, written before anything is sent. Raises BTCError where it cannot be
    """
    if choice == "v1":
        return V1Transport(network)
    # nodes that know v1 only, as bcoin, ban for many bytes that are no message: an attempt says as little as possible
    options = choice if isinstance(choice, V2Options) else V2Options(garbage=b"") if choice == "auto" else None
    return V2Transport(network, True, short_ids(), options, on_key=_writing(keylog))


def is_held(choice: Choice) -> bool:
    """Whether the other end waits for our terminator until the user calls `release`, and we must not wait for it."""
    return isinstance(choice, V2Options) and choice.hold_terminator


def no_agreement(transport: Transport, timeout: float) -> str:
    """What to say of a peer with which no transport was agreed on in time."""
    if isinstance(transport, V2Transport) and transport.answered:
        return (f"no v2 handshake within {timeout:g} s; "
                f"a node of another network than {transport.network.name} may do that")
    return f"no answer to v2 within {timeout:g} s"


def accepted(choice: Choice, network: Network, keylog: KeyLogFile = None) -> Transport:
    """The transport of a connection that we accept. With "auto" its `receive` may raise BTCError, too."""
    if choice == "v1":
        return V1Transport(network)
    if choice != "auto":
        options = choice if isinstance(choice, V2Options) else None
        return V2Transport(network, False, short_ids(), options, on_key=_writing(keylog))
    return ResponderTransport(network, short_ids(), on_key=_writing(keylog))


def _writing(keylog: KeyLogFile) -> Callable[[EphemeralKey], None] | None:
    """What adds a key to a file."""
    if not keylog:
        return None

    def write(key: EphemeralKey) -> None:
        try:
            append_key(keylog, key)
        except OSError as error:
            raise BTCError(f"{os.fspath(keylog)}: the key cannot be written: {error.strerror or error}") from error

    return write
