"""Every method there is."""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.policies import Method
from services.metrics.domain.methods import bayesian, fixed_horizon, group_sequential, running
from services.metrics.domain.methods.base import Show

METHODS: Mapping[Method, Show] = MappingProxyType(
    {
        Method.ALWAYS_VALID: running.show,
        Method.FIXED_HORIZON: fixed_horizon.show,
        Method.GROUP_SEQUENTIAL: group_sequential.show,
        Method.BAYESIAN: bayesian.show,
    }
)
