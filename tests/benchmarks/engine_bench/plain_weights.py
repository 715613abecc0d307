"""Runs a Python peer with weights as they are in the file, as llama-server --no-repack does.

    PEER_PYTHON plain_weights.py -m MODULE [ARGUMENT ...]
    PEER_PYTHON plain_weights.py FILE.py [ARGUMENT ...]

It runs under the peer's interpreter, so it imports nothing of Seatrial.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import llama_cpp
import llama_cpp.llama_cpp as bindings

_defaults = bindings.llama_model_default_params


def _plain() -> Any:
    """Neither peer has a switch for it, and repacked Q8_0 weights crash on some machines with AMX."""
    params = _defaults()
    params.use_extra_bufts = False
    return params


bindings.llama_model_default_params = _plain
llama_cpp.llama_model_default_params = _plain
sys.argv = sys.argv[1:]
if sys.argv[0] == "-m":
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
