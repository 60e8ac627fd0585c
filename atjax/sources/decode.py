"""Files as people have them: gzipped or not, and text in one of several encodings."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib

from atjax.errors import UserError
from atjax.sources.files import MEMBER_LIMIT, read_bounded

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks and what they announce; that of UTF-16 begins that of UTF-32."""


def gunzip(content: bytes, file: str) -> bytes:
    """The content of a gzip file; what is no gzip file stays as it is.

    Raises:
        UserError: It is damaged, or decompresses to more than `atjax.sources.files.MEMBER_LIMIT` bytes.
    """
    if not content.startswith(GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            return read_bounded(packed, file, MEMBER_LIMIT)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} is a damaged gzip file ({error}); make it anew") from None


def as_utf8(content: bytes, file: str) -> tuple[bytes, tuple[str, ...]]:
    """Text in UTF-8 without a byte-order mark, and a note if its encoding had to be guessed.

    Raises:
        UserError: It is not in the encoding that its mark announces, or no text at all.
    """
    for mark, encoding in MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).removeprefix("\ufeff").encode(), ()
            except UnicodeError as error:
                raise UserError(f"{file} begins as {encoding.upper()} but is not ({error}); save it as UTF-8") from None
    if b"\0" in content:
        raise UserError(f"{file} holds bytes that are 0, as UTF-16 without a byte-order mark does; save it as UTF-8")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return content.decode("latin-1").encode(), (f"{file} is not UTF-8 (line {line}); it was read as Latin-1.",)
    return content, ()
