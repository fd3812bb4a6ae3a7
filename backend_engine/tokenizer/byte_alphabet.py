"""GPT-2's spelling of bytes: byte-level BPE stores each byte of a token as one printable character."""

from __future__ import annotations


def _alphabet() -> dict[int, str]:
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    spelling = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in spelling)
    spelling.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return spelling


BYTE_TO_CHAR = _alphabet()
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}
