"""What the gateway shows: the latest of every state, the last of every fact. Rebuilt from the bus."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TypeVar

from schemas.event import Contract
from schemas.experiments import Experiment, Rollback, Verdict
from schemas.health import Alert, AlertState, ModelHealth
from schemas.results import Result
from schemas.versions import ModelState, Retraining

MAX_EXPERIMENTS = 5_000
MAX_MODELS = 5_000
MAX_ALERTS = 5_000
MAX_FACTS_PER_SUBJECT = 200
MAX_RETRAININGS = 2_000

KeyT = TypeVar("KeyT")
EventT = TypeVar("EventT", bound=Contract)


class Views:
    """Everything that may be read, in memory and bounded: the oldest leaves when a limit is reached."""

    def __init__(self) -> None:
        self.experiments: OrderedDict[str, Experiment] = OrderedDict()
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.models: OrderedDict[str, ModelState] = OrderedDict()
        self.health: OrderedDict[tuple[str, str], ModelHealth] = OrderedDict()
        self.alerts: OrderedDict[str, Alert] = OrderedDict()
        self.retrainings: OrderedDict[str, Retraining] = OrderedDict()
        self._verdicts: OrderedDict[str, deque[Verdict]] = OrderedDict()
        self._rollbacks: OrderedDict[str, deque[Rollback]] = OrderedDict()

    def apply(self, event: Contract) -> bool:
        """Take an event in. Returns True when a view changed; an older or repeated one changes nothing."""
        match event:
            case Experiment():
                return _newer(self.experiments, event.experiment_id, event, "revision", MAX_EXPERIMENTS)
            case Result():
                return _newer(self.results, event.experiment_id, event, "computed_at_ms", MAX_EXPERIMENTS)
            case ModelState():
                return _newer(self.models, event.model, event, "revision", MAX_MODELS)
            case ModelHealth():
                key = (event.model, event.version)
                return _newer(self.health, key, event, "computed_at_ms", MAX_MODELS)
            case Alert():
                return _newer(self.alerts, event.alert_id, event, "changed_at_ms", MAX_ALERTS)
            case Retraining():
                key_ = event.retraining_id
                return _newer(self.retrainings, key_, event, "occurred_at_ms", MAX_RETRAININGS)
            case Verdict():
                return _append(self._verdicts, event.experiment_id, event, "verdict_id")
            case Rollback():
                return _append(self._rollbacks, event.experiment_id, event, "rollback_id")
            case _:
                return False

    def verdicts(self, experiment_id: str) -> tuple[Verdict, ...]:
        """Return the last verdicts on an experiment, oldest first."""
        return tuple(self._verdicts.get(experiment_id, ()))

    def rollbacks(self, experiment_id: str) -> tuple[Rollback, ...]:
        """Return the rollbacks of an experiment, oldest first."""
        return tuple(self._rollbacks.get(experiment_id, ()))

    def health_of(self, model: str) -> tuple[ModelHealth, ...]:
        """Return the health of every known version of a model."""
        return tuple(each for (name, _), each in self.health.items() if name == model)

    def retrainings_of(self, model: str) -> tuple[Retraining, ...]:
        """Return the latest step of every retraining of a model, oldest first."""
        return tuple(each for each in self.retrainings.values() if each.model == model)

    def find_alerts(self, *, state: AlertState | None, subject: str | None) -> Iterable[Alert]:
        """Return alerts, newest change first, filtered where a filter is given."""
        matching = (
            alert
            for alert in self.alerts.values()
            if (state is None or alert.state is state) and (subject is None or alert.subject == subject)
        )
        return sorted(matching, key=lambda alert: alert.changed_at_ms, reverse=True)

    def lasting_alerts(self, subject: str) -> tuple[Alert, ...]:
        """Return the alerts about a subject that are not resolved, newest change first."""
        found = self.find_alerts(state=None, subject=subject)
        return tuple(alert for alert in found if alert.state is not AlertState.RESOLVED)


def _newer(view: OrderedDict[KeyT, EventT], key: KeyT, event: EventT, order: str, limit: int) -> bool:
    known = view.get(key)
    if known is not None and (known == event or getattr(known, order) > getattr(event, order)):
        return False
    view[key] = event
    while len(view) > limit:
        view.popitem(last=False)
    return True


def _append(view: OrderedDict[str, deque[EventT]], key: str, event: EventT, identity: str) -> bool:
    facts = view.setdefault(key, deque(maxlen=MAX_FACTS_PER_SUBJECT))
    if any(getattr(fact, identity) == getattr(event, identity) for fact in facts):
        return False
    facts.append(event)
    while len(view) > MAX_EXPERIMENTS:
        view.popitem(last=False)
    return True
