"""What assignment remembers of a model: who serves, who waits for a trial, who may never serve again."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field

from libs.common.errors import Refused
from schemas.event import Contract
from schemas.experiments import Hashing, Metric, Policy
from schemas.names import Count, Key
from schemas.versions import ModelState
from services.assignment.domain.definitions import check_ramp

MAX_QUARANTINED = 1_000
MAX_FORMER = 100
SHOWN = 10
"""Of a list in an error."""
LIFT = "train a new version, or POST /v1/models/{model}/quarantine/lift if a person answers for it"


class TrialTemplate(Contract):
    """How a model's challengers are tried: the metrics that judge them and the policy that acts."""

    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1, max_length=50)]
    policy: Policy = Field(default_factory=Policy)
    hashing: Hashing = Hashing.TRIMTAB
    """`growthbook_v2` where GrowthBook's SDKs are to assign the units of a trial."""

    def check(self) -> None:
        """Raise Refused, naming the field, when no trial could be made of it."""
        names = [metric.name for metric in self.metrics]
        if len(set(names)) != len(names):
            raise Refused("every metric's name may occur once", field="metrics")
        check_ramp(self.policy)


class ModelRecord(Contract):
    """One model as assignment sees it. `row_revision` counts every change of the record."""

    model: Key
    row_revision: Count = 0
    state_revision: Count = 0
    """Of the newest ModelState heard; 0: none yet."""
    champion: Key | None = None
    """As `models` says."""
    challenger: Key | None = None
    quarantined: Annotated[tuple[Key, ...], Field(strict=False)] = ()
    """Versions that were rolled back, here or as `models` says: never served, never tried."""
    lifted: Annotated[tuple[Key, ...], Field(strict=False)] = ()
    """Versions that a person took out of quarantine: whatever `models` says, until they are rolled back."""
    promoted: Key | None = None
    """Promoted here and not yet confirmed by `models`: serves already."""
    promoted_over: Annotated[tuple[Key, ...], Field(strict=False)] = ()
    """Champions that `models` may still name until it has heard of the promotion."""
    former: Annotated[tuple[Key, ...], Field(strict=False)] = ()
    """Champions before the present one, the latest last: they serve again when it is rolled back."""
    template: TrialTemplate | None = None

    @property
    def serving(self) -> str | None:
        """The version that is the champion now: the latest that was not rolled back; None without one."""
        latest = (self.promoted, self.champion, *reversed(self.promoted_over), *reversed(self.former))
        return next((each for each in latest if each is not None and each not in self.quarantined), None)

    @property
    def confirmed(self) -> bool:
        """False while a version serves that was promoted here and `models` has not named yet."""
        return self.promoted is None or self.promoted in self.quarantined

    def heard(self, state: ModelState) -> Self:
        """Return the record after this state. An older or equal revision changes nothing.

        Where it names no champion, or one that was rolled back, the one before goes on serving.
        """
        if state.revision <= self.state_revision:
            return self
        quarantined = _newest(self.quarantined, tuple(_apart(state.quarantined, self.lifted)))
        named = state.champion.version if state.champion else None
        champion = self.champion if named is None or named in quarantined else named
        # Until `models` names somebody else than before the promotion, it has not heard of it. A promotion
        # that was rolled back waits for nothing.
        pending = self.promoted is not None and self.promoted not in quarantined
        waiting = pending and (champion is None or champion in self.promoted_over)
        past = (*self.former, *(() if waiting else self.promoted_over), self.champion)
        return self._next(
            state_revision=state.revision,
            champion=champion,
            challenger=state.challenger.version if state.challenger else None,
            quarantined=quarantined,
            promoted=self.promoted if waiting else None,
            promoted_over=self.promoted_over if waiting else (),
            former=_former(past, champion, quarantined),
        )

    def promote(self, version: str) -> Self:
        """Return the record with `version` as champion from now on. Raises Refused when it is quarantined."""
        if version in self.quarantined:
            raise Refused(
                f"version {version} of {self.model} was rolled back and does not serve again",
                next_step=LIFT,
            )
        over = tuple(each for each in (*self.promoted_over, self.champion, self.promoted) if each is not None)
        return self._next(promoted=version, promoted_over=_newest((), over))

    def quarantine(self, versions: tuple[str, ...]) -> Self:
        """Return the record in which these versions may not serve again until a person lifts that."""
        lifted = tuple(_apart(self.lifted, versions))
        return self._next(quarantined=_newest(self.quarantined, versions), lifted=lifted)

    def lift(self, version: str) -> Self:
        """Return the record in which `version` is out of quarantine. Raises Refused when it is not in it.

        Who is champion stays: experiments may serve the version again, the model does not until it is
        promoted or `models` names it.
        """
        if version not in self.quarantined:
            known = ", ".join(self.quarantined[-SHOWN:])
            raise Refused(
                f"version {version} of {self.model} is not in quarantine",
                field="version",
                next_step=f"in quarantine: {known}" if known else "none is in quarantine",
            )
        return self._next(
            quarantined=tuple(_apart(self.quarantined, (version,))),
            lifted=_newest(self.lifted, (version,)),
            promoted=None if self.promoted == version else self.promoted,
            champion=self.serving if self.champion == version else self.champion,
            promoted_over=tuple(_apart(self.promoted_over, (version,))),
            former=tuple(_apart(self.former, (version,))),
        )

    def with_champion(self, version: str) -> Self:
        """Return the record with a first champion, where `models` has named none."""
        return self._next(champion=version)

    def with_template(self, template: TrialTemplate) -> Self:
        """Return the record with another trial template; a trial that runs keeps its own."""
        return self._next(template=template)

    def _next(self, **updates: object) -> Self:
        return self.model_copy(update={"row_revision": self.row_revision + 1, **updates})


def _former(
    past: tuple[str | None, ...], champion: str | None, quarantined: tuple[str, ...]
) -> tuple[str, ...]:
    """Return those of `past` that may serve again, each at its latest place; past the limit the oldest go."""
    without = {None, champion, *quarantined}
    latest = dict.fromkeys(each for each in reversed(past) if each is not None and each not in without)
    return tuple(reversed(latest))[-MAX_FORMER:]


def _apart(versions: tuple[str, ...], from_these: tuple[str, ...]) -> Iterator[str]:
    return (each for each in versions if each not in from_these)


def _newest(before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Return both without repetitions; past the limit the oldest go."""
    return tuple(dict.fromkeys((*before, *more)))[-MAX_QUARANTINED:]
