# SPDX-License-Identifier: GPL-2.0-or-later
"""Which transport a connection of ours has."""

from __future__ import annotations

import os
from functools import partial
from typing import Literal

from ..bip324.keylog import append_key
from ..bip324.transport import ResponderTransport, V2Options, V2Transport
from ..messages.catalogue import short_ids
from ..networks import Network
from ..wire.transport import Transport, V1Transport

Choice = Literal["auto", "v1", "v2"]
"""auto: what the other end speaks; where we speak first, v2 and then, in another connection, v1."""
KeyLogFile = str | os.PathLike[str] | None


def opened(choice: Choice, network: Network, keylog: KeyLogFile = None) -> Transport:
    """The transport of a connection that we open; with "auto" v2, whose `try_v1` tells whether to try again.

    :param keylog: file for the keys of v2. It takes them before anything is sent, and OSError is raised where it cannot
    """
    if choice == "v1":
        return V1Transport(network)
    # nodes that know v1 only, as bcoin, ban for many bytes that are no message: an attempt says as little as possible
    options = V2Options(garbage=b"") if choice == "auto" else None
    return V2Transport(network, True, short_ids(), options, on_key=partial(append_key, keylog) if keylog else None)


def accepted(choice: Choice, network: Network, keylog: KeyLogFile = None) -> Transport:
    """The transport of a connection that we accept. With "auto" its `receive` may raise OSError, too."""
    if choice == "v1":
        return V1Transport(network)
    on_key = partial(append_key, keylog) if keylog else None
    if choice == "v2":
        return V2Transport(network, False, short_ids(), on_key=on_key)
    return ResponderTransport(network, short_ids(), on_key=on_key)
