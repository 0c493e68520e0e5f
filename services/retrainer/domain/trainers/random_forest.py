"""A forest of decision trees: strong without tuning, takes missing values as they are."""

from collections.abc import Mapping

from services.retrainer.domain.trainers.base import Classifier, Labels, Table, refuse_single_class

TREES = 100


class RandomForestTrainer:
    """Breiman's random forest (Machine Learning 45, 2001), 100 fully grown trees."""

    # The trees' storage. Its node indices are not checked on use: read files of our own registry alone.
    trusted_types: tuple[str, ...] = ("sklearn.tree._tree.Tree",)

    def parameters(self) -> Mapping[str, str]:
        """Return the hyper-parameters that matter."""
        return {"trees": str(TREES), "min_samples_leaf": "1", "max_features": "sqrt"}

    def train(self, table: Table, labels: Labels, seed: int) -> Classifier:
        """Return a forest. Raises Refused when there is one class only."""
        # Here, so that the worker knows the kinds without loading scikit-learn.
        from sklearn.ensemble import RandomForestClassifier

        refuse_single_class(labels)
        forest: Classifier = RandomForestClassifier(
            n_estimators=TREES, min_samples_leaf=1, max_features="sqrt", random_state=seed, n_jobs=1
        ).fit(table, labels)
        return forest
