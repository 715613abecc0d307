"""The engine's Prometheus metrics, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60)
_GAPS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
_STEPS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Every series the engine exports. Times start when a request's body has been read."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        self.registry = registry = CollectorRegistry(auto_describe=True)

        def histogram(name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, about, buckets=buckets, registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(name, about, registry=registry)

        self.ttft = histogram("seatrial_ttft_seconds", "Request received to first token", _SECONDS)
        self.itl = histogram("seatrial_itl_seconds", "Gap between two tokens of one answer", _GAPS)
        self.e2e = histogram("seatrial_e2e_seconds", "Request received to last token", _SECONDS)
        self.queue = histogram("seatrial_queue_seconds", "Request received to a free slot", _SECONDS)
        self.step = histogram("seatrial_step_seconds", "One step of the decode loop", _STEPS)
        self.overhead = histogram("seatrial_step_overhead_seconds", "A step's time outside llama_decode", _STEPS)
        self.running = gauge("seatrial_requests_running", "Requests that hold a slot")
        self.waiting = gauge("seatrial_requests_waiting", "Requests that wait for a slot")
        self.slots = gauge("seatrial_slots", "Sequences that can be decoded at once")
        self.queue_limit = gauge("seatrial_queue_limit", "Requests that may wait")
        self.kv_used = gauge("seatrial_kv_cells_used", "KV cache cells in use, in tokens")
        self.kv_total = gauge("seatrial_kv_cells", "KV cache cells there are, in tokens")
        self.up = gauge("seatrial_decode_up", "1 while the decode process answers, else 0")
        self.requests = Counter("seatrial_requests", "Finished requests by outcome", ["outcome"], registry=registry)
        self.tokens = Counter("seatrial_tokens", "Tokens by kind", ["kind"], registry=registry)
        self.restarts = Counter("seatrial_decode_restarts", "Restarts of the decode process", registry=registry)
        for outcome in ("ok", "cancelled", "shed", "unavailable", "error", "refused"):
            self.requests.labels(outcome)
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
