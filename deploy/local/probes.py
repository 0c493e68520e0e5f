"""How the stack finds out that a part is ready. Each probe has a time limit and returns a reason in words."""

import asyncio
import struct
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.parts import Probe

TIMEOUT_S = 2.0
ANSWER_LIMIT_BYTES = 65_536
METADATA_REQUEST, METADATA_VERSION = 3, 1
DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432}


def http_ready(url: str) -> Probe:
    """Ready when a GET answers 200; otherwise the reason is the status and the first 300 characters."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80

    async def probe(pid: int) -> str | None:
        request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        try:
            answer = await asyncio.wait_for(_ask(host, port, request.encode()), TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            return f"{url} does not answer ({type(error).__name__})"
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status == [b"200"]:
            return None
        return (
            f"{url} answers {b''.join(status).decode() or 'nothing'}: {body[:300].decode(errors='replace')}"
        )

    return probe


def kafka_ready(host: str, port: int) -> Probe:
    """Ready when the node lists itself as a live broker: an open port alone comes seconds earlier."""

    async def probe(pid: int) -> str | None:
        body = struct.pack(">hhih7si", METADATA_REQUEST, METADATA_VERSION, 1, 7, b"trimtab", 0)
        try:
            request = struct.pack(">i", len(body)) + body
            answer = await asyncio.wait_for(_ask_kafka(host, port, request), TIMEOUT_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return f"{host}:{port} does not answer ({type(error).__name__})"
        brokers = struct.unpack_from(">i", answer, 4)[0] if len(answer) >= 8 else 0
        return None if brokers > 0 else "the node has no live broker yet"

    return probe


def postgres_ready(data: Path) -> Probe:
    """Ready when the server says so in `postmaster.pid`, and it is this process that says it."""

    async def probe(pid: int) -> str | None:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return "postmaster.pid is not there yet"
        if len(lines) < 8 or lines[0].strip() != str(pid):
            return "postmaster.pid is not complete yet"
        return None if lines[7].strip() == "ready" else f"it is {lines[7].strip()}"

    return probe


def address_answers(address: str, variable: str) -> Probe:
    """For a part that someone else runs: ready when one of its addresses accepts a connection."""
    places = [_place(one) for one in address.split(",")]

    async def probe(pid: int) -> str | None:
        for host, port in places:
            if host is None or await _accepts(host, port):  # no host: a local socket, left to its client
                return None
        names = ", ".join(f"{host}:{port}" for host, port in places)
        return f"{variable} names {names}, where nothing answers"

    return probe


def _place(address: str) -> tuple[str | None, int]:
    parts = urlsplit(address if "://" in address else f"//{address}")
    return parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme, 9092)


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), TIMEOUT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _ask(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        answer = b""
        while len(answer) < ANSWER_LIMIT_BYTES and (chunk := await reader.read(ANSWER_LIMIT_BYTES)):
            answer += chunk
        return answer
    finally:
        writer.close()


async def _ask_kafka(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        size = struct.unpack(">i", await reader.readexactly(4))[0]
        return await reader.readexactly(min(size, ANSWER_LIMIT_BYTES))
    finally:
        writer.close()
