"""HTTP/1.1 as uvicorn and httptools speak it, with a limit that they lack and bodies that they lose."""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1_024
"""Of a request line and headers, and of trailers: httptools itself would take them without an end."""


class BoundedHttp(HttpToolsProtocol):
    """One connection. A head that does not end is 400; an offer to upgrade is declined.

    Java's HttpClient offers HTTP/2 with every first request, and httptools leaves the body of such a request
    to the protocol that was offered: it is read here as if nothing had been offered, as RFC 9110, 7.8 has it.
    """

    _unread_bytes = 0
    """What came since the last thing that was whole: a head, a part of a body, or a message."""

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._unset_keepalive_if_required()
        self._unread_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
        else:
            if self._unread_bytes > MAX_HEAD_BYTES:
                self._refuse(f"The request's head is larger than {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the body end."""
        self._unread_bytes = 0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # Only asked of requests that offer to upgrade. True keeps uvicorn from answering them without their
        # bodies: `_decline` has them read again.
        return True

    def _decline(self, rest: bytes) -> None:
        """Read the request again without its offer; `rest` is what came after its head."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("There is no CONNECT here.")
            return
        version = self.parser.get_http_version().encode()
        headers = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        head = b"\r\n".join((method + b" " + self.url + b" HTTP/" + version, *headers, b"", b""))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _refuse(self, why: str) -> None:
        self.logger.warning(why)
        self.send_400_response(why)
