"""A server that a run can start: python launchable.py PORT [SECONDS [CHILD]]: it answers /v1/models after that long.

With CHILD it starts another process of a group of its own, as servers do for their workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": f"model of {os.getpid()}"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    sys.stdout.write("it is loading\n")
    sys.stdout.flush()
    if len(sys.argv) > 3:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
