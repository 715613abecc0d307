"""A process that writes a journal and says what it has committed: python -m ... PATH SEED PATIENCE_S.

A line on stdout for every commit: how many observations are in the journal, and "full" while they wait for the disk.
It ends by itself after LAST observations, or where the disk stays full, with the error on stderr and exit code 2.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from scenarios.errors import JournalError
from scenarios.journal import JournalWriter, writer
from scenarios.observation import Observation, Outcome

LAST = 20_000


def observation(index: int) -> Observation:
    """One with every part that a journal holds."""
    return Observation(
        index=index,
        due_ns=index * 1000,
        sent_ns=index * 1000 + 1,
        end_ns=index * 1000 + 900,
        outcome=Outcome.OK,
        event_ns=tuple(index * 1000 + at for at in range(1, 20)),
        answer=f"the answer to {index}",
    )


def main() -> int:
    path, seed, writer.PATIENCE_S = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    draw = random.Random(seed)
    try:
        journal = JournalWriter(path)
        at = 0
        while at < LAST or journal.waits:
            rows = min(draw.randrange(1, 300), LAST - at)
            journal.add_observations(observation(index) for index in range(at, at + rows))
            at += rows
            journal.commit_or_wait()
            print("full" if journal.waits else at, flush=True)
            if journal.waits:
                sys.stdin.readline()  # until there may be room
        journal.close()
    except JournalError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
