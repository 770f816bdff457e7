"""Reads what comes with a request, within limits."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

LARGEST_BODY = 20 * 2**20
"""Most bytes of a request."""

BODY_SECONDS = 30.0
"""That a request has to arrive in."""

_SECONDS_TO_SEND = 2.0  # that a client may go on with a body that is too large


async def read_body(request: Request) -> bytes:
    """Reads a body, and decompresses it; raises a 413 for one that is too large, a 408, 415, or 400."""
    promised = request.headers.get("content-length", "0")
    if promised.isdecimal() and int(promised) > LARGEST_BODY:
        if "expect" not in request.headers:  # else it waits for our word before it sends anything
            await _throw_away(request)
        raise _too_large()
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > LARGEST_BODY:
                    raise _too_large()
                chunks.append(chunk)
    except TimeoutError as error:
        message = f"the body did not arrive within {BODY_SECONDS:.0f} s"
        raise HTTPException(408, message, {"connection": "close"}) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the body is not whole") from error
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return b"".join(chunks)
    if encoding not in {"gzip", "deflate"}:
        message = f"the body is encoded as {encoding[:20]}, expected gzip, deflate or nothing"
        raise HTTPException(415, message, {"accept-encoding": "gzip, deflate"})
    return await asyncio.to_thread(_decompress, b"".join(chunks))


def _decompress(data: bytes) -> bytes:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # the header says which of the two it is
    try:
        body = inflater.decompress(data, LARGEST_BODY + 1)
    except zlib.error as error:
        raise HTTPException(400, f"the body cannot be decompressed: {error}") from error
    if len(body) > LARGEST_BODY:
        raise _too_large()
    if not inflater.eof:
        raise HTTPException(400, "the body is not whole")
    return body


async def _throw_away(request: Request) -> None:
    """Reads what a client sends for a moment: it looks for the answer when it has sent all."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_SECONDS_TO_SEND):
            async for _ in request.stream():
                pass


def _too_large() -> HTTPException:
    # The connection ends: nobody reads the rest
    return HTTPException(413, f"more than {LARGEST_BODY >> 20} MB", {"connection": "close"})


class _InMemory(MultiPartParser):
    spool_max_size = LARGEST_BODY  # nothing goes to the disk


async def read_image(request: Request, field_names: tuple[str, ...]) -> tuple[bytes, str | None]:
    """Reads an image, as the body or as a file of a form, and its name if it has one.

    The texts of a form are in `request.state.fields` then.

    Raises a 400 or 422 for a form without it, and what `read_body` raises.
    """
    body = await read_body(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        return body, None
    form = await _parse_form(request, body)
    request.state.fields = {name: part for name, part in form.items() if isinstance(part, str)}
    try:
        for name in (*field_names, *form):
            part = form.get(name)
            if part is not None and not isinstance(part, str):
                return await part.read(), part.filename
    finally:
        await form.close()
    raise HTTPException(422, f"the form holds no file, expected one as '{field_names[0]}'")


async def _parse_form(request: Request, body: bytes) -> FormData:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        return await _InMemory(request.headers, stream(), max_files=4, max_fields=32).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
