"""The way out of the process: one HTTP client for both threads."""

import threading

import httpx


class Network:
    """Holds the HTTP client. A forked child must not use its parent's connections: it gets its own."""

    def __init__(self, timeout_ms: float, transport: httpx.BaseTransport | None) -> None:
        """`transport` replaces the network, in tests. Raises what httpx raises where the environment's
        certificates or proxies cannot be used."""
        self._timeout_s = timeout_ms / 1_000
        self._transport = transport
        self._lock = threading.Lock()
        self._closed = False
        self._http: httpx.Client | None = self._client()

    @property
    def http(self) -> httpx.Client:
        """The client of this process. Raises RuntimeError once closed."""
        http = self._http
        if http is not None:
            return http
        with self._lock:  # in a child, where the first to need it makes it: a fork must cost nothing
            if self._closed:
                raise RuntimeError("the client is closed")
            self._http = self._http or self._client()
            return self._http

    def reborn(self) -> None:
        """Leave the parent's connections alone: not even close them, which would say good-bye on them."""
        self._lock = threading.Lock()
        self._http = None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            http, self._http, self._closed = self._http, None, True
        if http is not None:
            http.close()

    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=self._timeout_s, transport=self._transport)
