"""Where control records come in: the one home of Faust."""
