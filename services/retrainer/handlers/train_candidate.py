"""Train a candidate on labelled production examples and hold it against the champion."""

from dataclasses import dataclass

import numpy as np

from libs.common.errors import Misconfigured, Refused
from libs.statistics.profiles import build_reference
from schemas.versions import ReferenceProfile
from services.retrainer.domain.card import write_card
from services.retrainer.domain.examples import Answer, Examples, class_names
from services.retrainer.domain.learning import candidate_scores, compare, split_by_time
from services.retrainer.domain.report import TrainingOrder, TrainingReport
from services.retrainer.domain.trainers import TRAINERS, Classifier
from services.retrainer.ports import ChampionSource, ExampleReader


@dataclass(frozen=True, slots=True)
class Candidate:
    """A freshly trained version that has not yet met a unit."""

    model: Classifier
    report: TrainingReport
    reference: ReferenceProfile
    card: str


def train_candidate(order: TrainingOrder, reader: ExampleReader, champions: ChampionSource) -> Candidate:
    """Carry the order out.

    Raises Refused when the examples do not allow it, Retryable when the champion cannot be fetched now.
    """
    if order.trainer not in TRAINERS:
        raise Misconfigured(f"there is no trainer {order.trainer!r}: choose one of {', '.join(TRAINERS)}")
    examples = reader.read(order.model, order.from_ms, order.until_ms, most=order.max_examples)
    earlier, later = split_by_time(examples, order.held_out_share)
    # The champion first: when the registry is away, no training is wasted.
    champion = _champion(order, later, champions)
    model = TRAINERS[order.trainer].train(earlier.table, earlier.labels, order.seed)
    report = _validate(order, model, (examples, earlier, later), champion)
    columns = zip(examples.features, examples.table.T, strict=True)
    reference = build_reference(
        {name: column[np.isfinite(column)].tolist() for name, column in columns},
        score=report.scores["accuracy"],
    )
    return Candidate(model, report, reference, write_card(order, report))


def _validate(
    order: TrainingOrder,
    model: Classifier,
    parts: tuple[Examples, Examples, Examples],
    champion: "_Champion",
) -> TrainingReport:
    examples, earlier, later = parts
    trainer = TRAINERS[order.trainer]
    scores, answers = candidate_scores(model, later)
    version = champion.version
    return TrainingReport(
        trainer=order.trainer,
        parameters=dict(trainer.parameters()),
        features=examples.features,
        classes=tuple(class_names(np.asarray(model.classes_)).tolist()),
        classes_are_numbers=earlier.labels.dtype.kind == "i",
        trained_on=len(earlier),
        held_out=len(later),
        first_ms=int(examples.times_ms[0]),
        split_ms=int(later.times_ms[0]),
        last_ms=int(examples.times_ms[-1]),
        data_hash=examples.digest(),
        scores=scores,
        champion_version=version,
        comparison=compare(later, answers, version, champion.answer) if version else None,
        notes=(*examples.notes, *champion.notes),
    )


@dataclass(frozen=True, slots=True)
class _Champion:
    version: str | None
    answer: Answer | None = None
    notes: tuple[str, ...] = ()


def _champion(order: TrainingOrder, later: Examples, champions: ChampionSource) -> _Champion:
    """Return the champion in use where it has to be asked, or the note why it cannot be."""
    version = order.champion_version
    if version is None or np.all(later.versions == version):
        return _Champion(version)
    try:
        return _Champion(version, champions.answers(order.model, version, later.features))
    except Refused as error:
        note = f"The champion is judged by its recorded answers alone: {error.message}."
        return _Champion(version, notes=(note,))
