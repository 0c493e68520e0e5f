"""The bus on Apache Kafka: the only home of aiokafka."""

from libs.common.bus.kafka.bus import KafkaBus

__all__ = ["KafkaBus"]
