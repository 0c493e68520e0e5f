"""The Trimtab client: assign, expose, predict, convert, feedback. Never blocks or breaks its caller.

from trimtab import Trimtab

with Trimtab("http://gateway:8080", "http://assignment:8081") as trimtab:
    assignment = trimtab.assign("user-7", "digits")
    prediction_id = trimtab.predict("user-7", model="digits", model_version=assignment.model_version, ...)
    trimtab.convert("user-7", "purchase", 19.90)
    trimtab.feedback("user-7", prediction_id, model="digits", label="3")
"""

from trimtab.aio import AsyncTrimtab
from trimtab.assignments import Assignment
from trimtab.client import Trimtab
from trimtab.stats import Stats
from trimtab.sticky import StickyStore

__all__ = ["Assignment", "AsyncTrimtab", "Stats", "StickyStore", "Trimtab"]
