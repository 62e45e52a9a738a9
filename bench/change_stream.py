#!/usr/bin/env python3
"""How fast, and at what cost in memory, a hub tells its agents of one report.

    bench/change_stream.py BINARY [AGENTS] [REPORTS]

Starts a hub of its own, holds AGENTS streams of server-sent events open, and reports REPORTS
addresses one by one. Printed are the times from the moment before a report is sent to its arrival
at each agent, and the hub's memory at its height.
"""

import json
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


def main():
    binary = sys.argv[1]
    n_agents = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    n_reports = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    with tempfile.TemporaryDirectory() as data:
        hub = subprocess.Popen(
            [binary, "hub", "--json", "--listen", "127.0.0.1:0", "--data", data],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            measure(hub, json.loads(hub.stdout.readline()), n_agents, n_reports)
        finally:
            hub.terminate()
            hub.wait()


def measure(hub, first, n_agents, n_reports):
    url, key = first["url"], first["key"]

    def call(path, body=None):
        request = urllib.request.Request(
            url + path, data=body and json.dumps(body).encode(),
            headers={"Authorization": key, "Accept": "application/json",
                     "Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    event = call("/events/add", {"info": "bench"})["Event"]["id"]
    idle = memory(hub.pid, "VmRSS")
    host, port = url.removeprefix("http://").split(":")
    waiting, agents = selectors.DefaultSelector(), []
    for _ in range(n_agents):
        agent = socket.create_connection((host, int(port)))
        agent.sendall(f"GET /lists/changes?since=0 HTTP/1.1\r\nHost: hub\r\nAuthorization: {key}\r\n"
                      "Accept: text/event-stream\r\n\r\n".encode())
        agents.append(agent)
        waiting.register(agent, selectors.EVENT_READ)
    for agent in agents:
        while b"followed" not in agent.recv(4096):
            pass

    took = []
    for n in range(n_reports):
        value = f"45.33.{n // 250}.{n % 250 + 1}"
        missing, sent = set(agents), time.monotonic()
        call(f"/attributes/add/{event}", {"type": "ip-src", "value": value})
        while missing:
            for ready, _ in waiting.select():
                text = ready.fileobj.recv(1 << 16)
                if not text:
                    sys.exit("a stream ended")
                if value.encode() + b'\\"' in text:
                    missing.discard(ready.fileobj)
                    took.append(time.monotonic() - sent)
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] * 1000
    print(f"{n_agents} agents, {n_reports} reports: "
          f"p50 {at(.5):.1f} ms, p99 {at(.99):.1f} ms, longest {took[-1] * 1000:.1f} ms; "
          f"memory {idle} MB before, {memory(hub.pid, 'VmHWM')} MB at its height")


def memory(pid, what):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(rf"{what}:\s+(\d+) kB", status.read()).group(1)) // 1024


main()
