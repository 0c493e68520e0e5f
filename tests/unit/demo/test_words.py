"""What the demo says is what the API said."""

from deploy.demo import words


def test_evidence_is_the_last_verdict_of_its_kind() -> None:
    """Estimate, interval, relative difference and units of both arms are told, or nothing without one."""
    evidence = {
        "metric": "accepted", "estimate": -0.5, "lower": -0.7, "upper": -0.3, "alpha": 0.05,
        "relative": -0.6, "units": 1_100, "control_units": 90,
    }  # fmt: skip
    found = {"verdicts": [{"kind": "hold", "evidence": []}, {"kind": "roll_back", "evidence": [evidence]}]}
    told = words.evidence(found, "roll_back")
    assert "accepted: -0.500 [-0.700, -0.300] always-valid at 95%, -60% relative" in told
    assert "1,100 against 90 units" in told
    assert words.evidence(found, "promote") == ""


def test_what_is_not_known_is_called_unknown() -> None:
    """A missing number is never shown as one."""
    performance = {"metric": "accuracy", "score": None, "reference_score": 0.9}
    assert "accuracy unknown over recent labels, reference 0.900" in words.performance(
        {"performance": performance, "labelled": 0}
    )
    assert "accuracy 0.900, the champion unknown" in words.validation(
        {"examples": 10, "scores": {"accuracy": 0.9}}
    )


def test_the_worst_feature_is_named() -> None:
    """Of all features the one with the largest PSI is told."""
    features = [{"feature": "a", "psi": 0.1, "ks": 0.1}, {"feature": "b", "psi": 2.0, "ks": None}]
    told = words.drift({"features": features, "drifted_features": 1, "reason": ""})
    assert "1 of 2 features drifted; most b: PSI 2.00, KS unknown" in told
