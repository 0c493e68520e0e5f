"""Creates topics as `schemas/topics.py` describes them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from libs.common.bus.kafka.failures import answered
from libs.common.bus.kafka.limits import AHEAD_MS, CALL_TIMEOUT_MS, REQUEST_TIMEOUT_MS
from libs.common.bus.rules import check_topics, check_unit_topics
from libs.common.errors import Retryable
from schemas.topics import TOPICS, TopicKind

MAX_REPLICAS = 3
_LOOK_AGAIN_S = 0.05


class KafkaAdmin:
    """Keeps the promises of `ports.Admin`."""

    def __init__(self, bootstrap_servers: str, *, client_id: str) -> None:
        self.servers = bootstrap_servers
        self.client_id = client_id

    async def ensure_topics(self, names: Sequence[str]) -> Mapping[str, int]:
        """Create what is missing, on up to three brokers each, and wait until every partition has a leader.
        What exists stays as it is: an operator may have changed it."""
        check_topics(names)
        async with answered("creating topics"), self._connected() as client:
            present = await _partitions(client, names)
            missing = [name for name in names if name not in present]
            if missing:
                await _create(client, missing)
                present = await self._wait_for(client, names)
        check_unit_topics(present)
        return present

    async def partitions(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the number of partitions of each topic. Raises Retryable when one does not exist yet."""
        async with answered("looking up topics"), self._connected() as client:
            present = await _partitions(client, names)
        missing = sorted(set(names) - present.keys())
        if missing:
            raise Retryable(
                f"topics that do not exist yet: {', '.join(missing)}",
                next_step="call ensure_topics, or start the service that owns them",
            )
        return present

    async def _wait_for(self, client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
        async with asyncio.timeout(CALL_TIMEOUT_MS / 1_000):
            while True:
                present = await _partitions(client, names)
                if present.keys() >= set(names):
                    return present
                await asyncio.sleep(_LOOK_AGAIN_S)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(
            bootstrap_servers=self.servers, client_id=self.client_id, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_MS / 1_000):
                await client.start()
            yield client
        finally:
            await client.close()


async def _partitions(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Return the topics among `names` whose partitions all have a leader."""
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in await client.describe_topics(list(names))
        if not topic["error_code"]
        and topic["partitions"]
        and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }


async def _create(client: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    brokers = len((await client.describe_cluster())["brokers"])
    replicas = min(brokers, MAX_REPLICAS)
    response = await client.create_topics([_described(name, replicas) for name in names])
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another process may have been faster.
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message[0] if message and message[0] else error.description}")


def _described(name: str, replicas: int) -> NewTopic:
    topic = TOPICS[name]
    configs = {
        "min.insync.replicas": str(max(1, replicas - 1)),
        # Old stamps are taken however old they are: a log may be played back.
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(AHEAD_MS),
    }
    if topic.kind is TopicKind.STATE:
        configs["cleanup.policy"] = "compact"
    else:
        configs |= {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms)}
    return NewTopic(name, topic.partitions, replicas, topic_configs=configs)
