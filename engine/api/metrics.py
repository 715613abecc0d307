"""The engine's Prometheus metrics."""

from __future__ import annotations

from engine.api.exposition import Counter, Gauge, Histogram, log_bounds
from engine.wire import Step

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_FACTOR = 1.02
"""Neighbouring bounds differ by 2 %, so a percentile read from the buckets is off by at most as much, also where all
answers take the same time and lie in one bucket."""
_LATENCY_S = log_bounds(0.001, 120.0, _FACTOR)
_GAP_S = log_bounds(0.0002, 10.0, _FACTOR)
_STEP_S = log_bounds(0.0001, 20.0, 1.25)
_PYTHON_S = log_bounds(0.00001, 1.0, 1.1)


class Metrics:
    """Every series the engine exports. Times start when a request's body has been read."""

    def __init__(self) -> None:
        self.ttft = Histogram("seatrial_ttft_seconds", "Request received to first token", _LATENCY_S)
        self.itl = Histogram("seatrial_itl_seconds", "Gap between two tokens of one answer", _GAP_S)
        self.e2e = Histogram("seatrial_e2e_seconds", "Request received to last token", _LATENCY_S)
        self.queue = Histogram("seatrial_queue_seconds", "Request received to a free slot", _LATENCY_S)
        self.step = Histogram("seatrial_step_seconds", "One step of the decode loop", _STEP_S)
        self.overhead = Histogram("seatrial_step_overhead_seconds", "A step's time outside llama_decode", _PYTHON_S)
        self.python = Histogram(
            "seatrial_step_python_seconds", "A step's time outside llama_decode and the samplers", _PYTHON_S
        )
        self.running = Gauge("seatrial_requests_running", "Requests that hold a slot")
        self.waiting = Gauge("seatrial_requests_waiting", "Requests that wait for a slot")
        self.slots = Gauge("seatrial_slots", "Sequences that can be decoded at once")
        self.queue_limit = Gauge("seatrial_queue_limit", "Requests that may wait")
        self.kv_used = Gauge("seatrial_kv_cells_used", "KV cache cells of running sequences, in tokens")
        self.kv_cached = Gauge("seatrial_kv_cells_cached", "KV cache cells that only the prefix cache holds, in tokens")
        self.kv_total = Gauge("seatrial_kv_cells", "KV cache cells there are, in tokens")
        self.up = Gauge("seatrial_decode_up", "1 while the decode process answers, else 0")
        self.requests = Counter("seatrial_requests", "Finished requests by outcome", "outcome")
        self.tokens = Counter("seatrial_tokens", "Tokens by kind", "kind")
        self.cached = Counter("seatrial_prompt_tokens_cached", "Prompt tokens that were found in the prefix cache")
        self.preemptions = Counter("seatrial_preemptions", "Sequences sent back to the queue")
        self.response_cache = Counter("seatrial_response_cache", "Requests by what the response cache had", "result")
        self.restarts = Counter("seatrial_decode_restarts", "Restarts of the decode process")
        for outcome in ("ok", "cancelled", "shed", "unavailable", "error", "refused", "deadline"):
            self.requests.labels(outcome)
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)
        for result in ("hit", "miss"):
            self.response_cache.labels(result)

    def on_start(self, slots: int, ctx: int, queue_limit: int) -> None:
        """The model is loaded. ctx: tokens of each sequence."""
        self.up.set(1)
        self.slots.set(slots)
        self.queue_limit.set(queue_limit)
        self.kv_total.set(slots * ctx)

    def on_step(self, step: Step) -> None:
        """What a step says of the decode process as a whole."""
        self.running.set(step.running)
        # Those who are about to get a free slot do not wait for one.
        self.waiting.set(max(0, step.waiting - max(0, int(self.slots.value) - step.running)))
        self.kv_used.set(step.kv_cells)
        self.kv_cached.set(step.kv_cached)
        if step.preempted:
            self.preemptions.inc(step.preempted)
        if produced := sum(output.tokens for output in step.outputs):
            self.tokens.labels("completion").inc(produced)
        if step.decode_s:
            self.step.observe(step.step_s)
            self.overhead.observe(max(0.0, step.step_s - step.decode_s))
            self.python.observe(max(0.0, step.step_s - step.decode_s - step.sample_s))

    def on_death(self) -> None:
        """The decode process is gone, and what it held."""
        for gauge in (self.up, self.running, self.waiting, self.kv_used, self.kv_cached):
            gauge.set(0)

    def render(self) -> bytes:
        """The text exposition format."""
        return "".join([series.render() for series in vars(self).values()]).encode()
