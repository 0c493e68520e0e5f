"""How long this process waits for Kafka, and how much it takes at once."""

REQUEST_TIMEOUT_MS = 20_000
"""Of one request. Joining a group is one request and may take as long as a rebalance."""
SESSION_TIMEOUT_MS = 6_000
"""As long as the partitions of a worker that was killed stand still; the least that brokers allow."""
HEARTBEAT_MS = 1_500
"""A member that joins gets its share after one heartbeat of the others."""
MAX_POLL_MS = 24 * 60 * 60 * 1_000
"""aiokafka expels members that do not fetch for longer. A process that stands still is found by its own
health check; one that waits for a database must not hand its partitions to another that waits as well."""
START_TIMEOUT_MS = 30_000
STOP_TIMEOUT_MS = 10_000
CALL_TIMEOUT_MS = 20_000
"""Of a commit or a look-up of offsets."""
SEND_TIMEOUT_MS = 30_000
LOST_AFTER_MS = 15_000
"""A broker that has answered no fetch for so long is lost."""
AHEAD_MS = 60 * 60 * 1_000
"""A record whose stamp is further ahead of the broker's clock is refused: the stamps are the clock of what
reads them, and one from the year 9999 would move it for good."""
BATCH_BYTES = 256 * 1024
LINGER_MS = 2
FETCH_BYTES = 2 * 1024 * 1024
"""Of one partition. Above the largest message."""
