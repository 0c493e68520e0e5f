"""Why an audit can say neither yes nor no."""

from libs.common.errors import TrimtabError


class CannotAudit(TrimtabError):
    """There is nothing to compare, or not all of the log to compare it with. `next_step` says what to do."""
