"""The rules of retraining, pure: who may retrain when, what counts as better, who is in charge."""
