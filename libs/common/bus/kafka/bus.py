"""One Apache Kafka cluster."""

from collections.abc import Sequence

from libs.common.bus.kafka.admin import KafkaAdmin
from libs.common.bus.kafka.consumer import Joining, KafkaConsumer
from libs.common.bus.kafka.producer import KafkaProducer
from libs.common.bus.ports import Listener
from libs.common.bus.rules import check_topics
from libs.common.clock import Clock


class KafkaBus:
    """The cluster at `bootstrap_servers` (`host:port`, several separated by commas). `client_id` names this
    process in the broker's logs and quotas.

    `member`, where it is given, is the name of its members of groups, the same when the process starts again
    and no other's (Kafka's static membership, KIP-345): the group keeps the share of such a member for the
    session time-out, whether it was killed or stopped, and gives it back at once.
    """

    def __init__(self, bootstrap_servers: str, *, client_id: str, clock: Clock, member: str = "") -> None:
        self._servers = bootstrap_servers
        self._member = member
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
        joining = Joining(group, self._member, listener)
        return KafkaConsumer(self.admin(), topics=topics, clock=self._clock, joining=joining)

    def reader(self, topics: Sequence[str]) -> KafkaConsumer:
        """Return a consumer of all partitions from the beginning, not yet started. Partitions that are added
        to a topic later are read after its next start."""
        check_topics(topics)
        return KafkaConsumer(self.admin(), topics=topics, clock=self._clock)

    def admin(self) -> KafkaAdmin:
        """Return the means to create topics."""
        return KafkaAdmin(self._servers, client_id=self._client_id)
