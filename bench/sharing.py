#!/usr/bin/env python3
"""Sharing beside a script that asks once for each offender, at the same hub, in the same run.

usage: bench/sharing.py [--offenders N] [--script N] [--reports N] [--outbox N] [--drain S] [--ours PROGRAM]

Prints: offenders a second of both, for new and for known addresses, and their ratio; what exchange itself
costs (processor time, without the hub's); requests for 1,000 offenders; `report` from start to exit; and an
outbox of --outbox offenders: how fast they are accepted, and exchange's peak memory while it delivers for
--drain seconds. The script is what the article "MISP and fail2ban" describes, written anew: one curl adds
the attribute, and where MISP has it already another one adds a sighting.
Needs a release build of fail2misp, and curl.
"""
import argparse, json, os, signal, socket, sqlite3, statistics, subprocess, sys, tempfile, threading, time
import ipaddress, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
FIRST = int(ipaddress.ip_address("45.0.0.0"))  # public, so that nothing is held back
SCRIPT = r"""
ask() { curl -s -H "Authorization: $2" -H "Accept: application/json" -H "Content-Type: application/json" -d "$4" "$3"; }
said=$(ask "$1" "$2" "$3/attributes/add/$4" '{"category":"Network activity","type":"ip-src","value":"'"$1"'","to_ids":true,"comment":"login attempt (via fail2ban)"}')
case $said in *"similar attribute already exists"*) ask "$1" "$2" "$3/sightings/add" '{"value":"'"$1"'","type":"0"}' > /dev/null ;; esac
"""


class Hub:
    def __init__(self, ours, folder, port=0):
        self.ours, self.folder = ours, folder
        self.start(port)
        self.key = open(os.path.join(folder, "admin.key")).read().strip()

    def start(self, port):
        command = [self.ours, "hub", "--json", "--listen", f"127.0.0.1:{port}", "--data", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def event(self):
        curl = ["curl", "-s", "-H", f"Authorization: {self.key}", "-H", "Accept: application/json"]
        curl += ["-H", "Content-Type: application/json", "-d", '{"info":"bench"}', self.url + "/events/add"]
        return json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)["Event"]["id"]


class Counting(threading.Thread):
    """Hands requests on to the hub one by one, and counts them."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.n = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        hub = socket.create_connection(("127.0.0.1", self.port))
        try:
            while self.copy(client, hub):
                self.n += 1
                self.copy(hub, client)
        except OSError:
            pass

    @staticmethod
    def copy(source, sink):
        data = b""
        while b"\r\n\r\n" not in data:
            more = source.recv(65536)
            if not more:
                return False
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        fields = [line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:]]
        left = int(dict((k, v) for k, v in fields).get(b"content-length", 0)) - len(body)
        sink.sendall(data)
        while left > 0:
            more = source.recv(min(left, 1 << 20))
            sink.sendall(more)
            left -= len(more)
        return True


class Exchange:
    """`run --only exchange` on a state folder of its own, and what it costs."""

    def __init__(self, args, folder, url, key, event):
        self.folder, self.ours = folder, args.ours
        os.makedirs(os.path.join(folder, "state", "spool"), mode=0o700, exist_ok=True)
        key_file = os.path.join(folder, "misp.key")
        with open(os.open(key_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(key)
        with open(os.path.join(folder, "config.toml"), "w") as file:
            file.write(
                "[share]\nsighting_interval = 0\nmax_per_day = 1000000000\n"
                f'[misp.main]\nurl = "{url}"\nkey_file = "{key_file}"\nevent = "{event}"\n'
                "max_attributes = 10000\ncalls_per_minute = 1000000000\n"
            )
        os.makedirs(os.path.join(folder, "fail2ban"), exist_ok=True)
        open(os.path.join(folder, "fail2ban", "jail.conf"), "w").close()
        self.environment = {
            **os.environ,
            "FAIL2MISP_CONFIG": os.path.join(folder, "config.toml"),
            "FAIL2MISP_STATE": os.path.join(folder, "state"),
            "FAIL2MISP_RUNTIME": os.path.join(folder, "run"),
            "FAIL2MISP_FAIL2BAN_DIR": os.path.join(folder, "fail2ban"),
        }

    def put(self, first, n, second, files=1):
        """Puts offenders into the spool, as `report` does, some thousands in a file."""
        for part in range(files):
            lines = []
            for k in range(part * n // files, (part + 1) * n // files):
                ban = {"jail": "sshd", "subject": str(ipaddress.ip_address(FIRST + first + k)), "time": second,
                       "bantime": 600, "n_failures": 5, "first_failure": second, "last_failure": second,
                       "matches": []}
                lines.append(json.dumps(ban, separators=(",", ":")))
            text = "\n".join(lines) + "\n"
            name = f"{part:08}-{uuid.uuid4()}.{len(lines)}.{len(text)}.jsonl"
            with open(os.path.join(self.spool(), "." + name), "w") as file:
                file.write(text)
            os.rename(os.path.join(self.spool(), "." + name), os.path.join(self.spool(), name))

    def spool(self):
        return os.path.join(self.folder, "state", "spool")

    def start(self):
        log = open(os.path.join(self.folder, "exchange.log"), "a")
        command = [self.ours, "run", "--only", "exchange"]
        self.process = subprocess.Popen(command, env=self.environment, stderr=log, stdout=log)

    def is_spool_empty(self):
        return not any(name.endswith(".jsonl") for name in os.listdir(self.spool()))

    def waits(self):
        path = os.path.join(self.folder, "state", "exchange", "exchange.db")
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
                return db.execute("SELECT EXISTS (SELECT 1 FROM outbox)").fetchone()[0]
        except sqlite3.Error:
            return True

    def rows(self):
        path = os.path.join(self.folder, "state", "exchange", "exchange.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM outbox").fetchone()[0]

    def peak(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

    def stop(self):
        """Ends it; the processor seconds that it took."""
        self.process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        return usage.ru_utime + usage.ru_stime

    def deliver(self):
        """Delivers what waits; wall seconds and processor seconds."""
        began = time.perf_counter()
        self.start()
        while not self.is_spool_empty() or self.waits():
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        return seconds, self.stop()


def by_script(args, hub, event, first):
    began = time.perf_counter()
    for k in range(args.script):
        address = str(ipaddress.ip_address(FIRST + first + k))
        subprocess.run(["bash", "-c", SCRIPT, "script", address, hub.key, hub.url, event], check=True)
    return args.script / (time.perf_counter() - began)


def side_by_side(args, hub, folder):
    event, other = hub.event(), hub.event()
    exchange = Exchange(args, os.path.join(folder, "ours"), hub.url, hub.key, event)
    print(f"{'':8}{'script/s':>10}{'ours/s':>10}{'ratio':>8}{'cost: offenders a processor second':>38}")
    for what, second in (("new", 1_795_328_415), ("known", 1_795_400_000)):
        theirs = by_script(args, hub, other, 1 << 24)
        exchange.put(0, args.offenders, second, files=max(1, args.offenders // 10_000))
        seconds, cpu = exchange.deliver()
        ours = args.offenders / seconds
        cost = args.offenders / cpu
        print(f"{what:8}{theirs:10,.1f}{ours:10,.0f}{ours / theirs:7,.0f}x{cost:38,.0f}", flush=True)


def requests(args, hub, folder):
    proxy = Counting(hub.port)
    exchange = Exchange(args, os.path.join(folder, "counted"), proxy.url, hub.key, hub.event())
    for what, second in (("new", 1_795_328_415), ("known", 1_795_400_000)):
        before = proxy.n
        exchange.put(1 << 22, 1_000, second)
        exchange.deliver()
        print(f"requests for 1,000 {what} offenders: {proxy.n - before}", flush=True)


def reports(args, hub, folder):
    exchange = Exchange(args, os.path.join(folder, "reports"), hub.url, hub.key, hub.event())
    exchange.start()
    while not os.path.exists(os.path.join(folder, "reports", "run", "exchange", "control.sock")):
        time.sleep(0.01)
    times = []
    for k in range(args.reports):
        address = str(ipaddress.ip_address(FIRST + (1 << 23) + k))
        began = time.perf_counter()
        subprocess.run([args.ours, "report", address], env=exchange.environment, check=True)
        times.append((time.perf_counter() - began) * 1000)
    exchange.stop()
    times.sort()
    print(f"report, start to exit: median {statistics.median(times):.1f} ms, 99th percentile {times[len(times) * 99 // 100]:.1f} ms", flush=True)


def large_outbox(args, hub, folder):
    exchange = Exchange(args, os.path.join(folder, "large"), hub.url, hub.key, "daily")
    exchange.put(1 << 25, args.outbox, 1_795_328_415, files=max(1, args.outbox // 10_000))
    port = hub.port
    hub.stop()
    began = time.perf_counter()
    exchange.start()
    while not exchange.is_spool_empty():
        time.sleep(0.01)
    rate = args.outbox / (time.perf_counter() - began)
    print(f"outbox of {args.outbox:,}: accepted {rate:,.0f} a second, peak {exchange.peak():.1f} MiB", flush=True)
    exchange.stop()
    hub.start(port)
    began = time.perf_counter()
    exchange.start()
    time.sleep(args.drain)
    peak, left = exchange.peak(), exchange.rows()
    rate = (args.outbox - left) / (time.perf_counter() - began)
    exchange.stop()
    print(f"  drained {rate:,.0f} a second for {args.drain} s, peak {peak:.1f} MiB", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--offenders", type=int, default=20_000, help="that ours tells")
    ap.add_argument("--script", type=int, default=200, help="offenders that the script tells")
    ap.add_argument("--reports", type=int, default=200)
    ap.add_argument("--outbox", type=int, default=1_000_000)
    ap.add_argument("--drain", type=float, default=20)
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    args = ap.parse_args()
    if not os.path.exists(args.ours):
        sys.exit(f"{args.ours} is not there; run `cargo build --release` first")
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(args.ours, os.path.join(folder, "hub"))
        try:
            side_by_side(args, hub, folder)
            requests(args, hub, folder)
            reports(args, hub, folder)
            large_outbox(args, hub, folder)
        finally:
            hub.stop()


if __name__ == "__main__":
    main()
