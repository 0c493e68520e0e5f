"""What the supervisor is told about one part: how to run it, when it is ready, how it is stopped."""

import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.ports import Port

Probe = Callable[[int], Coroutine[None, None, str | None]]
"""Asks a part of this process id whether it is ready: None when it is, else the reason why not."""


@dataclass(frozen=True)
class Account:
    """The user a part runs as when the supervisor is root and the part refuses to be.

    In a `namespace` it merely sees itself as that user: what it owns belongs to root.
    """

    uid: int
    gid: int
    namespace: bool = False


@dataclass(frozen=True)
class Part:
    """One process, or, without a command, one address that replaces it.

    `waits_for` names the parts that must be ready first. `prepare` may block; it runs once, in a thread,
    before the first start. `stop_signal` asks for an orderly end, `death_signal` is what the kernel sends
    when the supervisor is gone.
    """

    name: str
    address: str
    probe: Probe
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    waits_for: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    prepare: Callable[[], None] | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_deadline_s: float = 15.0
    death_signal: signal.Signals = signal.SIGKILL
    ready_deadline_s: float = 120.0

    @property
    def external(self) -> bool:
        """True when somebody else runs it and only its address is known here."""
        return not self.command
