"""What a server answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer to a request."""

    status: int
    #: Header names in lower case; the last of a repeated one.
    headers: Mapping[str, str] = field(repr=False)
    #: As sent, not decompressed: none was asked for.
    body: bytes = field(default=b"", repr=False)
