"""Opaque tokens: where a list goes on, and how far a client has read of every partition."""

import base64
import binascii
import json
from collections.abc import Mapping

_LARGEST = 2**63 - 1


def encode_place(place: tuple[int, str]) -> str:
    """The last row of a page (raised_us, episode_id) as a token."""
    return _encode(list(place))


def decode_place(token: str) -> tuple[int, str]:
    """The inverse of `encode_place`. Raises: ValueError."""
    match _decode(token):
        case [int(raised_us), str(episode_id)] if abs(raised_us) <= _LARGEST:
            return raised_us, episode_id
        case _:
            raise ValueError("not a place in a list")


def encode_positions(positions: Mapping[int, int]) -> str:
    """Next offset by partition as a token that fits the `id:` line of an event."""
    return _encode([[partition, offset] for partition, offset in sorted(positions.items())])


def decode_positions(token: str) -> dict[int, int]:
    """The inverse of `encode_positions`. Raises: ValueError."""
    said = _decode(token)
    if not isinstance(said, list) or not said:
        raise ValueError("not the positions of a stream")
    positions: dict[int, int] = {}
    for pair in said:
        match pair:
            case [int(partition), int(offset)] if 0 <= partition <= _LARGEST and 0 <= offset <= _LARGEST:
                positions[partition] = offset
            case _:
                raise ValueError("not the positions of a stream")
    return positions


def _encode(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(token: str) -> object:
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeError, binascii.Error, RecursionError) as error:
        raise ValueError("not a token of ours") from error
