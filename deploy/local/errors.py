"""The one error of the embedded stack: what is wrong, and what to do next."""


class StackError(Exception):
    """Why the stack cannot go on. Both sentences are shown to a person as they are, without a traceback."""

    def __init__(self, problem: str, next_step: str = "") -> None:
        super().__init__(problem if not next_step else f"{problem}\n{next_step}")
        self.problem = problem
        self.next_step = next_step
