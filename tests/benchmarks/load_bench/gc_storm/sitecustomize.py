"""Put on PYTHONPATH, this gives a load worker a garbage collector that works all the time, once a file appears.

Nothing of the product knows of it: Python imports a module of this name by itself when it starts.
"""

import gc
import os
import sys
import threading
import time

_CONTAINERS = 600_000  # a full collection looks at all of them: tens of milliseconds in which nothing else runs
_PAUSE_S = 0.05


def _storm(trigger: str) -> None:
    while not os.path.exists(trigger):
        time.sleep(0.005)
    kept = []
    while os.path.exists(trigger):
        if len(kept) < _CONTAINERS:
            kept += [[] for _ in range(_CONTAINERS // 20)]
        gc.collect()
        time.sleep(_PAUSE_S)


if "scenarios.load.worker" in sys.orig_argv:
    threading.Thread(target=_storm, args=(os.environ["LOAD_BENCH_GC_TRIGGER"],), daemon=True).start()
