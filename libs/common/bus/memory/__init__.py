"""A bus in memory that keeps every promise of `ports.py`: for tests, and for trying things out."""

from libs.common.bus.memory.bus import MemoryAdmin, MemoryBus
from libs.common.bus.memory.cluster import Crash
from libs.common.bus.memory.consumer import MemoryConsumer
from libs.common.bus.memory.producer import MemoryProducer

__all__ = ["Crash", "MemoryAdmin", "MemoryBus", "MemoryConsumer", "MemoryProducer"]
