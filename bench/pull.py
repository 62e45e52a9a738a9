#!/usr/bin/env python3
"""How long a list takes from a hub into the kernel, and then a change of it.

    unshare -n bench/pull.py BINARY [INDICATORS] [CHANGES]

Starts a hub with INDICATORS addresses and a host that follows it, in a network namespace that the
caller makes (`unshare -n`, as root). Printed are the seconds from the start of the host's daemon
until guard says that the kernel holds all, and for CHANGES more from the moment before they are
reported; the change is tried ten times.
"""

import ipaddress
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request


def main():
    binary = sys.argv[1]
    n_indicators = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    n_changes = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        hub = subprocess.Popen(
            [binary, "hub", "--json", "--listen", "127.0.0.1:0", "--data", folder / "hub"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        host = None
        try:
            first = json.loads(hub.stdout.readline())
            event = call(first, "/events/add", {"info": "bench"})["Event"]["id"]
            for n in range(0, n_indicators, 1_000):
                add(first, event, range(n, min(n + 1_000, n_indicators)))
            configure(folder, first)
            began = time.monotonic()
            host = subprocess.Popen(
                [binary, "--config", folder / "config.toml", "--state", folder / "state",
                 "--runtime", folder / "run", "--fail2ban-dir", folder / "fail2ban", "run"],
                stderr=open(folder / "log", "w"))
            guard = connect(folder / "run/guard/control.sock")
            wait(guard, n_indicators)
            print(f"{n_indicators} indicators in the kernel after {time.monotonic() - began:.2f} s")
            took = []
            for n in range(10):
                first_new = n_indicators + n * n_changes
                began = time.monotonic()
                add(first, event, range(first_new, first_new + n_changes))
                reported = time.monotonic()
                wait(guard, first_new + n_changes)
                took.append((time.monotonic() - reported, time.monotonic() - began))
            after, whole = sorted(it[0] for it in took), sorted(it[1] for it in took)
            print(f"{n_changes} more: median {whole[5] * 1000:.0f} ms with the report itself, "
                  f"{after[5] * 1000:.0f} ms after it was answered")
        except BaseException:
            print((folder / "log").read_text() if (folder / "log").exists() else "")
            raise
        finally:
            for process in filter(None, [host, hub]):
                process.terminate()
                process.wait()


def call(hub, path, body):
    request = urllib.request.Request(
        hub["url"] + path, data=json.dumps(body).encode(),
        headers={"Authorization": hub["key"], "Accept": "application/json",
                 "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def add(hub, event, numbers):
    first = ipaddress.ip_address("45.33.0.0")
    call(hub, f"/attributes/add/{event}",
         [{"type": "ip-src", "value": str(first + n)} for n in numbers])


def configure(folder, hub):
    (folder / "fail2ban/filter.d").mkdir(parents=True)
    (folder / "auth.log").touch()
    (folder / "fail2ban/filter.d/x.conf").write_text("[Definition]\nfailregex = ^from <HOST>$\n")
    (folder / "fail2ban/jail.conf").write_text(
        f"[x]\nenabled = true\nfilter = x\nlogpath = {folder}/auth.log\nbackend = auto\n")
    (folder / "key").write_text(hub["key"])
    (folder / "key").chmod(0o600)
    (folder / "config.toml").write_text(
        f'[misp.hub]\nurl = "{hub["url"]}"\nkey_file = "{folder}/key"\n\n[blocklist]\n')


def connect(path):
    while True:
        try:
            guard = socket.socket(socket.AF_UNIX)
            guard.connect(str(path))
            return guard.makefile("rw")
        except OSError:
            time.sleep(0.005)


def wait(guard, n):
    end = time.monotonic() + 300
    while time.monotonic() < end:
        guard.write('{"ask":"block_list","step":"status"}\n')
        guard.flush()
        answer = json.loads(guard.readline())
        lists = answer.get("done", {}).get("block_list", {}).get("status", [])
        if sum(it["n_addresses"] for it in lists) >= n:
            return
        time.sleep(0.02)
    sys.exit(f"the kernel never held {n}: {answer}")


main()
