"""One direction of a connection: what waits to be written, when, and how much of it may wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from scenarios.faults.proxy.endpoint import Endpoint
from scenarios.faults.proxy.shaping import Parcel, Shaper

MOST_WAITING_BYTES = 256 << 10  # beyond it nothing more is read
LEAST_WAITING_BYTES = 64 << 10  # from here on it is read again


class Way:
    """From `source` to `sink`. Nothing here waits: `flush` writes what is due and says when to come again."""

    __slots__ = ("_queue", "_waiting", "blocked", "ended", "full", "over", "ready", "shapers", "sink", "source")

    def __init__(self, source: Endpoint, sink: Endpoint) -> None:
        self.source = source
        self.sink = sink
        self.shapers: dict[int, Shaper] = {}  # by the number of their fault
        self.full = False  # read no more for now
        self.blocked = False  # the sink takes nothing just now
        self.ended = False  # the source will give nothing more
        self.ready: Callable[[int], None] = _unwatched
        self.over = ""  # how it was closed: "fin" or "rst"
        self._queue: deque[Parcel] = deque()
        self._waiting = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    def pass_on(self, data: bytes) -> bool:
        """Write at once where nothing waits and nothing shapes; whether that was done. Raises OSError of the sink."""
        if self._queue or self.shapers:
            return False
        try:
            taken = self.sink.send(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self.put((Parcel(0, data[taken:]),))
            self.blocked = True
        return True

    def put(self, parcels: Iterable[Parcel]) -> None:
        """Let them wait for their times, shaped by the faults; order is kept."""
        for shaper in self.shapers.values():
            parcels = [shaped for parcel in parcels for shaped in shaper.shape(parcel)]
        last_ns = self._queue[-1].due_ns if self._queue else 0
        for parcel in parcels:
            last_ns = max(last_ns, parcel.due_ns)
            self._queue.append(parcel if parcel.due_ns == last_ns else parcel._replace(due_ns=last_ns))
            self._waiting += len(parcel.data)
        self.full = self._waiting > MOST_WAITING_BYTES

    def flush(self, now_ns: int) -> int | None:
        """Write what is due; when the next is, None where nothing waits for a time. Raises OSError of the sink."""
        queue = self._queue
        while queue and not self.over:
            due_ns, data, close = queue[0]
            if due_ns > now_ns:
                return due_ns
            if data:
                try:
                    taken = self.sink.send(data)
                except BlockingIOError:
                    taken = 0
                self._waiting -= taken
                self.full = self.full and self._waiting > LEAST_WAITING_BYTES
                if taken < len(data):
                    queue[0] = Parcel(due_ns, data[taken:], close)
                    self.blocked = True
                    return None
            queue.popleft()
            self.over = close
        return None

    def release(self) -> None:
        """Nothing waits for its time any more."""
        self._queue = deque(parcel._replace(due_ns=0) for parcel in self._queue)

    def drop(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        self._waiting = 0
        self.full = False


def _unwatched(_: int) -> None:
    """Nothing is listened to yet."""
