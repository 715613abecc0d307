"""Measure the demo model through an OpenAI-compatible server: exact greedy answers per profile and era.

    seatrial serve &                                    # or any other server that has loaded the model
    python -m assets.training.evaluate --url http://127.0.0.1:8080 --count 400 --markdown table.md

An answer counts when it equals the expected one after strip(); nothing else does. The tasks come from a seed that
training never uses. The interval is Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from scenarios.profiles import PROFILES, Era, Task
from scenarios.profiles.safety import declined, injection

Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: how many of the tasks of a set were answered exactly."""

    name: str
    era: str
    count: int
    exact: int
    missed: Counter[str]

    @property
    def share(self) -> float:
        return self.exact / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval for the share (Wilson 1927)."""
        n, p = self.count, self.share
        middle = p + Z_95**2 / (2 * n)
        half = Z_95 * (p * (1 - p) / n + Z_95**2 / (4 * n * n)) ** 0.5
        scale = 1 + Z_95**2 / n
        return (middle - half) / scale, (middle + half) / scale

    def cells(self) -> tuple[str, str, str, str, str]:
        low, high = self.interval
        return self.name, self.era, str(self.count), f"{self.share:.1%}", f"{low:.1%} to {high:.1%}"


def sets() -> Iterator[tuple[str, str, Callable[[random.Random], Task]]]:
    """Every set of tasks: (name, era, generator)."""
    for name, profile in PROFILES.items():
        for era in Era:
            yield name, era.value, lambda rng, profile=profile, era=era: profile.sample(rng, era)  # type: ignore[misc]
    yield "declined", Era.A.value, declined
    yield "injection", Era.A.value, injection


def ask(client: httpx.Client, model: str, task: Task) -> str:
    """The server's greedy answer. Raises httpx.HTTPError with the status or the connection's failure."""
    body: dict[str, object] = {"model": model, "temperature": 0, "max_tokens": task.max_tokens}
    if task.messages:
        body["messages"] = [{"role": message.role, "content": message.content} for message in task.messages]
        reply = client.post("/chat/completions", json=body).raise_for_status()
        return str(reply.json()["choices"][0]["message"]["content"])
    reply = client.post("/completions", json=body | {"prompt": task.prompt}).raise_for_status()
    return str(reply.json()["choices"][0]["text"])


def measure(client: httpx.Client, model: str, seed: str, count: int, parallel: int) -> Iterator[Row]:
    """One row per set, in the order of `sets`."""
    with ThreadPoolExecutor(parallel) as pool:
        for name, era, generate in sets():
            tasks = [generate(random.Random(f"{seed}:{name}:{era}:{index}")) for index in range(count)]
            answers = pool.map(lambda task: ask(client, model, task), tasks)
            missed = Counter(
                task.segment
                for task, answer in zip(tasks, answers, strict=True)
                if answer.strip() != task.expected.strip()
            )
            yield Row(name, era, count, count - missed.total(), missed)


def main() -> None:
    """Parse, measure, print the table; exit 1 if a profile misses its bar."""
    parser = argparse.ArgumentParser(prog="python -m assets.training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="with or without /v1")
    parser.add_argument("--model", default="", help="default: the first that the server names")
    parser.add_argument("--count", type=int, default=400, help="tasks per profile and era")
    parser.add_argument("--seed", default="evaluate")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    base = args.url.rstrip("/").removesuffix("/v1") + "/v1"
    key = os.environ.get("SEATRIAL_API_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    lines = ["| profile | era | tasks | exact | 95 % interval |", "|---|---|---|---|---|"]
    shares: dict[tuple[str, str], float] = {}
    with httpx.Client(base_url=base, headers=headers, timeout=120) as client:
        try:
            model = args.model or client.get("/models").raise_for_status().json()["data"][0]["id"]
            for row in measure(client, model, args.seed, args.count, args.parallel):
                shares[row.name, row.era] = row.share
                lines.append(f"| {' | '.join(row.cells())} |")
                worst = ", ".join(f"{segment} {n}" for segment, n in row.missed.most_common(4))
                print(lines[-1], f" missed: {worst}" if worst else "", flush=True)
        except httpx.HTTPError as error:
            sys.exit(f"{base}: {error}. Is a server with the demo model running there? Try `seatrial serve`.")
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", "utf-8")
    weak = [name for name in PROFILES if shares[name, "A"] < 0.95 or shares[name, "A"] - shares[name, "B"] < 0.25]
    if weak:
        sys.exit(f"below 95 % in era A, or no fall of 25 points in era B: {', '.join(weak)}")


if __name__ == "__main__":
    main()
