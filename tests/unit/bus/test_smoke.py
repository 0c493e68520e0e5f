import asyncio
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.bus.follow import Follower
from libs.common.bus.dead_letters import DeadLetters
from libs.common.bus.control import control_message
from libs.common.clock import ManualClock
from libs.common.lifecycle import Stop
from libs.common.telemetry.health import Health
from schemas.facts import Conversion

async def test_smoke():
    clock=ManualClock(); bus=MemoryBus(clock); p=bus.producer(); await p.start()
    seen=[]
    async def h(e): seen.append(e)
    health=Health(clock)
    f=Follower(bus, group="g", handlers={"conversions":h}, dead_letters=DeadLetters(p, source="t", clock=clock), clock=clock, health=health)
    stop=Stop()
    t=asyncio.create_task(f.run(stop))
    for i in range(10):
        await p.send(control_message("conversions", f"u{i}", Conversion(event_id=f"e{i}", occurred_at_ms=1, unit_id=f"u{i}", name="x"), source="t", clock=clock))
    await p.send(Message("conversions","u","nonsense".encode()))
    await asyncio.wait_for(f.caught_up.wait(), 5)
    while len(seen)<10 or not bus.records("dead-letters"): await asyncio.sleep(0)
    stop.set("x"); await t
    print(bus.records("dead-letters")); print(bus.committed("g")); print(bus.records("conversions")[0])
    assert health.ready()
