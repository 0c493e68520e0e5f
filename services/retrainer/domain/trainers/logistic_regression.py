"""A linear model: small, quick, well calibrated; what a forest has to beat."""

from collections.abc import Mapping

from services.retrainer.domain.trainers.base import Classifier, Labels, Table, refuse_single_class

ITERATIONS = 1_000


class LogisticRegressionTrainer:
    """Multinomial logistic regression on standardised features; missing values become the column's mean."""

    # The imputer keeps the kind of number it was fitted on.
    trusted_types: tuple[str, ...] = ("numpy.dtype",)

    def parameters(self) -> Mapping[str, str]:
        """Return the hyper-parameters that matter."""
        return {"C": "1.0", "max_iter": str(ITERATIONS), "imputer": "mean", "scaler": "standard"}

    def train(self, table: Table, labels: Labels, seed: int) -> Classifier:
        """Return the fitted pipeline. Raises Refused when there is one class only."""
        # Here, so that the worker knows the kinds without loading scikit-learn.
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        refuse_single_class(labels)
        steps = [
            ("impute", SimpleImputer(strategy="mean", keep_empty_features=True)),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(C=1.0, max_iter=ITERATIONS, random_state=seed)),
        ]
        fitted: Classifier = Pipeline(steps).fit(table, labels)
        return fitted
