# SPDX-License-Identifier: GPL-2.0-or-later
"""Key log: a line for each local end of a v2 connection, found by the public key that stands in clear on the wire.

    BIP324_EPHEMERAL <64-byte ElligatorSwift public key, hex> <32-byte private key, hex>

Either end's line opens the connection. Whoever reads the file reads the traffic.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from ..errors import CaptureError
from .keys import PRIVATE_SIZE, PUBLIC_SIZE, EphemeralKey

LABEL = b"BIP324_EPHEMERAL"
MODE = 0o600

_CHUNK = 1 << 20
_LONGEST = 1 << 10  # a line that is longer is none


def append_key(path: str | os.PathLike[str], key: EphemeralKey) -> None:
    """Add a key to a file, in one write, so that several programs can share it.

    The file is for its owner only (mode 0600), and is made so if it was open to others. Raises OSError.
    """
    line = b"%s %s %s\n" % (LABEL, key.public.hex().encode(), key.private.hex().encode())
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and stat.S_IMODE(mode) != MODE:
            os.fchmod(descriptor, MODE)
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


class KeyLog:
    """The keys of a file. It may grow while it is read, and need not be there yet.

    :ivar broken: lines that say nothing
    :ivar found: how often a key was asked for that it has
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.broken = self.found = 0
        self._keys: dict[bytes, bytes] = {}
        self._file = (0, 0)  # device and inode
        self._read = 0  # bytes
        self._seen = -1  # size of the file when it was read last

    def __repr__(self) -> str:
        return f"<KeyLog {os.fspath(self.path)}, {len(self):,} keys>"

    def __len__(self) -> int:
        return len(self._keys)

    def lookup(self, public: bytes) -> bytes | None:
        """The private key (32 bytes) for a public one, also if it was written just now; None when it is not there.

        Raises CaptureError when the file cannot be read.
        """
        private = self._keys.get(public)
        if private is None and self.refresh():
            private = self._keys.get(public)
        self.found += private is not None
        return private

    def refresh(self) -> bool:
        """Read what was added to the file; False if there is nothing new. Raises CaptureError."""
        try:
            found = os.stat(self.path)
            if self._seen >= 0 and not stat.S_ISREG(found.st_mode):
                return False  # a pipe is read once
            if self._file != (found.st_dev, found.st_ino) or found.st_size < self._read:
                self._file, self._read, self._seen = (found.st_dev, found.st_ino), 0, -1  # another file
            if found.st_size == self._seen:
                return False
            self._seen = found.st_size
            with open(self.path, "rb") as file:
                if self._read:
                    file.seek(self._read)
                self._take(file)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CaptureError(f"{os.fspath(self.path)}: {error.strerror or error}") from error
        return True

    def _take(self, file: BinaryIO) -> None:
        """Read lines up to the end of the file. The last one may be half written: it is read again later."""
        rest, overlong = b"", False
        while chunk := file.read(_CHUNK):
            *lines, tail = (rest + chunk).split(b"\n")
            for line in lines:
                self.broken += not (overlong or self._add(line))
                self._read += len(line) + 1
                overlong = False
            if len(tail) > _LONGEST:
                self.broken += not overlong
                self._read += len(tail)
                tail, overlong = b"", True
            rest = tail
        self._add(rest)

    def _add(self, line: bytes) -> bool:
        """Take a line; False when it says nothing."""
        words = line.split()
        if not words or words[0].startswith(b"#"):
            return True
        try:
            label, public, private = words
            key = bytes.fromhex(public.decode()), bytes.fromhex(private.decode())
        except ValueError:
            return False
        if label != LABEL or (len(key[0]), len(key[1])) != (PUBLIC_SIZE, PRIVATE_SIZE):
            return False
        self._keys[key[0]] = key[1]
        return True
