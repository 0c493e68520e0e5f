"""Trimtab beside its peers: the same job, the same broker, one core each."""
