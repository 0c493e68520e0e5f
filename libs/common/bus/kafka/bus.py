"""One Apache Kafka cluster."""

from collections.abc import Sequence

from libs.common.bus.kafka.admin import KafkaAdmin
from libs.common.bus.kafka.consumer import KafkaConsumer
from libs.common.bus.kafka.producer import KafkaProducer
from libs.common.bus.ports import Listener
from libs.common.bus.rules import check_topics
from libs.common.clock import Clock


class KafkaBus:
    """The cluster at `bootstrap_servers` (`host:port`, several separated by commas). `client_id` names this
    process in the broker's logs and quotas."""

    def __init__(self, bootstrap_servers: str, *, client_id: str, clock: Clock) -> None:
        self._servers = bootstrap_servers
        self._client_id = client_id
        self._clock = clock

    def producer(self) -> KafkaProducer:
        """Return a producer, not yet started."""
        return KafkaProducer(self._servers, client_id=self._client_id, clock=self._clock)

    def consumer(
        self, *, group: str, topics: Sequence[str], listener: Listener | None = None
    ) -> KafkaConsumer:
        """Return a member of `group`, not yet started."""
        check_topics(topics)
        return KafkaConsumer(self.admin(), group=group, topics=topics, listener=listener, clock=self._clock)

    def reader(self, topics: Sequence[str]) -> KafkaConsumer:
        """Return a consumer of all partitions from the beginning, not yet started. Partitions that are added
        to a topic later are read after its next start."""
        check_topics(topics)
        return KafkaConsumer(self.admin(), group=None, topics=topics, listener=None, clock=self._clock)

    def admin(self) -> KafkaAdmin:
        """Return the means to create topics."""
        return KafkaAdmin(self._servers, client_id=self._client_id)
