"""The health check of the image: exit status 0 if the container works.

A dashboard and a rendezvous must answer on their ports. Planners and trainers have no port: they are healthy
while they run, even if their store is unavailable for a while.
"""

import argparse
import sys
import urllib.request
from pathlib import Path
from socket import create_connection

arguments = Path("/proc/1/cmdline").read_text().split("\0")
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
port = parser.parse_known_args(arguments)[0].port
try:
    if "dashboard" in arguments:
        urllib.request.urlopen(f"http://127.0.0.1:{port or 8080}/healthz", timeout=5).close()
    elif "rendezvous" in arguments:
        create_connection(("127.0.0.1", port or 29400), timeout=5).close()
except OSError as error:
    sys.exit(str(error))
