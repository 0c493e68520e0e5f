"""What can go wrong, by what to do next.

TrimtabError
├── Retryable       try again later: a broker or database does not answer
├── Poison          this record can never be handled: bury it
├── Conflict        somebody else was faster: read again
│   └── Fenced      another owner has the partition: drop the state and leave
├── Refused         the request breaks a rule: change it
│   └── NotFound    what it names does not exist
└── Misconfigured   a person must change a setting before the process can run
    └── LineStopped too many dead letters: a person must look before more is lost
"""


class TrimtabError(Exception):
    """The root. `next_step` says what the reader may do; "" when the message says it."""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class Retryable(TrimtabError):
    """A dependency does not answer; the same call may succeed later."""


class Poison(TrimtabError):
    """This record can never be handled."""


class Conflict(TrimtabError):
    """The state changed underneath: read again and decide anew."""


class Fenced(Conflict):
    """Another owner holds the partition: nothing may be written any more."""


class Refused(TrimtabError):
    """The request breaks a rule. `field` names what to change, where one field is to blame."""

    def __init__(self, message: str, *, field: str = "", next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.field = field


class NotFound(Refused):
    """What the request names does not exist."""


class Misconfigured(TrimtabError):
    """The process cannot run as it is set up."""


class LineStopped(Misconfigured):
    """Too many records of a topic are poison: reading on would lose data."""
