"""What every bus must do: a test module derives its class from this one and gives the fixture `place`."""

from tests.contract.bus.groups import GroupContract
from tests.contract.bus.reading import ReadingContract
from tests.contract.bus.sending import SendingContract


class BusContract(SendingContract, ReadingContract, GroupContract):
    """The promises of `libs/common/bus/ports.py`."""
