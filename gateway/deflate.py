"""permessage-deflate (RFC 7692) for clients that offer it: each message is compressed by itself, once for everybody.

Nothing is remembered from one message to the next, either way: so the bytes that one client gets serve all others, and
a connection holds no window of 32 KB for each direction.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from websockets.exceptions import NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.typing import ExtensionParameter

LEAST = 1024  # bytes: smaller texts gain too little
MOST = 256 * 1024  # bytes: compressing more in one go would hold up the loop
_LEVEL = 1
_WINDOW = 12  # bits; 4 KB cost little to set up, and clients that ask for less than 15 mostly ask for this
_TAIL = b"\x00\x00\xff\xff"


class Negotiation(ServerPerMessageDeflateFactory):
    """Accepts an offer if its client takes what ``packed`` makes, and asks it to remember nothing either."""

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """The answer's parameters; raises ``NegotiationError`` to go on without compression."""
        answer, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits < _WINDOW:
            raise NegotiationError("window too small")
        return answer, extension


def inflation() -> Extension:
    """What decompresses one connection's messages, never beyond the largest that is taken."""
    return PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )


def packed(text: bytes) -> bytes:
    """The payload of a compressed message (RFC 7692, section 7.2.1)."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW, memLevel=6)
    return (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
