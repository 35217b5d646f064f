"""Figures for Prometheus, under vLLM's names with a prefix of one's own."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ownlm.inference.request import Event
from ownlm.serving.served import Served

LABEL = "model_name"
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000)


class Metrics:
    """Counters of one server; what is running is read when somebody asks."""

    def __init__(self, prefix: str, models: Callable[[], Mapping[str, Served]]) -> None:
        self.registry = CollectorRegistry()
        self._prefix = prefix
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts read.")
        self.generation_tokens = self._counter("generation_tokens", "Tokens written.")
        self.success = Counter(
            f"{prefix}:request_success",
            "Texts that were written to their end.",
            [LABEL, "finished_reason"],
            registry=self.registry,
        )
        self.failure = self._counter("request_failure", "Texts that were not: left, or failed.")
        self.refused = self._counter("request_refused", "Requests for which there was no room.")
        self.first = self._histogram("time_to_first_token_seconds", "Until a first token.", FAST)
        self.between = self._histogram("inter_token_latency_seconds", "Between two tokens.", FAST)
        self.whole = self._histogram("e2e_request_latency_seconds", "Until the last token.", SLOW)
        self.asked = self._histogram("request_prompt_tokens", "Tokens of a prompt.", SIZES)
        self.written = self._histogram("request_generation_tokens", "Tokens of a text.", SIZES)
        self.registry.register(_Now(prefix, models))

    def watch(self, name: str, prompt: int) -> "Watch":
        """For one text that is about to be written."""
        return Watch(self, name, prompt)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(f"{self._prefix}:{name}", what, [LABEL], registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: Iterable[float]) -> Histogram:
        name = f"{self._prefix}:{name}"
        return Histogram(name, what, [LABEL], registry=self.registry, buckets=tuple(buckets))


class Watch:
    """Times one text. Tokens that come together share the time since those before."""

    def __init__(self, metrics: Metrics, name: str, prompt: int) -> None:
        self.metrics, self.name, self.prompt = metrics, name, prompt
        self.begun = self.last = time.perf_counter()
        self.tokens, self.done = 0, False
        self._between = metrics.between.labels(name)
        self._written = metrics.generation_tokens.labels(name)

    def see(self, event: Event) -> None:
        """Count an event."""
        count = len(event.tokens)
        if count:
            now = time.perf_counter()
            if not self.tokens:
                self._begin(now)
            for _ in range(count if self.tokens else count - 1):
                self._between.observe((now - self.last) / count)
            self._written.inc(count)
            self.last, self.tokens = now, self.tokens + count
        if event.finish in ("stop", "length"):
            self._finish(event.finish)

    def end(self) -> None:
        """No more comes."""
        if not self.done:
            self.done = True
            self.metrics.failure.labels(self.name).inc()

    def _begin(self, now: float) -> None:
        self.metrics.first.labels(self.name).observe(now - self.begun)
        self.metrics.prompt_tokens.labels(self.name).inc(self.prompt)
        self.metrics.asked.labels(self.name).observe(self.prompt)

    def _finish(self, why: str) -> None:
        self.done = True
        self.metrics.success.labels(self.name, why).inc()
        self.metrics.whole.labels(self.name).observe(time.perf_counter() - self.begun)
        self.metrics.written.labels(self.name).observe(self.tokens)


class _Now(Collector):
    """Gauges."""

    def __init__(self, prefix: str, models: Callable[[], Mapping[str, Served]]) -> None:
        self._prefix, self._models = prefix, models

    def collect(self) -> Iterator[Metric]:
        """What the models are doing now."""
        loads = {name: served.load() for name, served in self._models().items() if served.service}
        gauges = {
            "num_requests_running": ("Texts being written.", "running"),
            "num_requests_waiting": ("Texts that wait for their turn.", "waiting"),
            "kv_cache_usage_perc": ("Share of the memory for keys and values in use.", "used"),
            "prefix_cache_queries": ("Tokens of prompts looked for in memory.", "looked_up"),
            "prefix_cache_hits": ("Tokens of prompts found in memory.", "cached"),
        }
        for gauge, (what, field) in gauges.items():
            family = GaugeMetricFamily(f"{self._prefix}:{gauge}", what, labels=[LABEL])
            for name, load in loads.items():
                family.add_metric([name], float(getattr(load, field)))
            yield family
