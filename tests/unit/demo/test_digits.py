"""The demo's world: real digits, a fault that destroys nothing but what the champion has learnt."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from deploy.demo.digits import FEATURES, MAX_PIXEL, jitter, load_pools, sensor_fault, transposed


def test_pools_do_not_overlap_and_are_always_the_same() -> None:
    """What the offline models saw never comes as production traffic."""
    first, second = load_pools(), load_pools()
    assert np.array_equal(first.production_images, second.production_images)
    offline = {image.tobytes() for image in first.offline_images}
    repeated = sum(image.tobytes() in offline for image in first.production_images)
    assert len(first.offline_images) + len(first.production_images) == 1_797
    assert repeated == 0


def test_jittered_images_are_images() -> None:
    """Moved and noisy images keep shape and range, and no two are alike."""
    images = load_pools().production_images[:50]
    moved = jitter(images, np.random.default_rng(1))
    assert moved.shape == (50, len(FEATURES))
    assert moved.min() >= 0
    assert moved.max() <= MAX_PIXEL
    assert not np.array_equal(moved, jitter(images, np.random.default_rng(2)))


def test_the_worlds_truth_is_as_the_acts_announce() -> None:
    """The sound model reads well, the transposed one badly; the fault ruins the sound one, and a model
    trained on faulty images reads well again: so every act has something true to find."""
    pools, random = load_pools(), np.random.default_rng(3)
    images, labels = jitter(pools.offline_images, random), pools.offline_labels
    later, truth = jitter(pools.production_images, random), pools.production_labels

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(n_estimators=30, random_state=0)

    def accuracy(model: RandomForestClassifier, x: np.ndarray, y: np.ndarray) -> float:
        return float((model.predict(x) == y).mean())

    sound, bad = forest().fit(images, labels), forest().fit(transposed(images), labels)
    assert accuracy(sound, later, truth) > 0.8
    assert accuracy(bad, later, truth) < 0.4
    assert accuracy(sound, sensor_fault(later), truth) < 0.5
    half = len(later) // 2
    renewed = forest().fit(sensor_fault(later[:half]), truth[:half])
    assert accuracy(renewed, sensor_fault(later[half:]), truth[half:]) > 0.75
