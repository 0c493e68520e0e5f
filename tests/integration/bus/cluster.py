"""What the tests on Apache Kafka share: its topics' settings, and waiting for a state."""

import asyncio
from collections.abc import Callable, Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.common.clock import SystemClock

CLOCK = SystemClock()
SET_ON_THE_TOPIC = 1
"""Where a setting comes from, in Kafka's protocol: not from a default."""


async def configs(admin: AIOKafkaAdminClient, topic: str, *, its_own: bool = False) -> dict[str, str]:
    """Return the settings that a topic has in the cluster; with `its_own` those that were set on it."""
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = answer.resources[0][4]
    return {entry[0]: entry[1] for entry in entries if not its_own or entry[3] == SET_ON_THE_TOPIC}


async def alter(admin: AIOKafkaAdminClient, topic: str, settings: Mapping[str, str]) -> None:
    """Set these on a topic, drop all others that were set on it, and wait until the broker has taken them
    over, at most 30 s."""
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(settings))])
    async with asyncio.timeout(30):
        while await configs(admin, topic, its_own=True) != settings:  # noqa: ASYNC110 - the broker's state
            await asyncio.sleep(0.02)


async def state(reached: Callable[[], bool]) -> None:
    """Wait until a state is reached, at most 60 s."""
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - any state, not one event
            await asyncio.sleep(0.02)
