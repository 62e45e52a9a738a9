#!/usr/bin/env python3
"""The guard beside fail2ban's server: the same jail, log and firewall, one after the other in the same run.

    unshare -n bench/guard.py [--ours PROGRAM] [--only ROW] [--without-fail2ban] [--samples N] [--bans N] [--many N] [--lines N]

Runs as root in a network namespace that the caller makes; both ban with nftables there, which itself tells (by its events)
when a ban stands. Needs a release build of fail2misp, fail2ban-server and nft. Printed is a table; what each row is:

    line     from a failed login in the log to the element in the kernel, `--samples` of them at random distances
    bans     `--bans` attackers who fail at once: seconds until the kernel holds all of them
    restart  an end in order, and a start: seconds until the kernel holds all of them again
    idle     50 of the jails that fail2ban comes with, a log each: memory after five minutes, and the share of a processor
    many     memory with `--many` bans, a minute after they were made, and after a restart; ours with nftables, fail2ban
             without an action, as nft would take it hours
    lines    `--lines` lines at once, one in ten a failed login, nobody banned: until all failures are counted
    flood    ours alone: 10 MB of lines a second for a minute, and how late a ban is meanwhile

Memory is Pss. CPU seconds are the daemon's own and those of what it starts.
"""
import argparse, os, random, shutil, signal, socket, struct, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
PATIENCE = 3600
N_IDLE_JAILS = 50
IDLE_AFTER = 300  # seconds: both have looked after everything several times
IDLE_SECONDS = 30
MINUTE = 61
FLOOD_SECONDS = 60
FLOOD_BYTES = 10_000_000
TICKS = os.sysconf("SC_CLK_TCK")

NETLINK_NETFILTER, NFTABLES, NFNLGRP_NFTABLES = 12, 10, 7
NLMSG_DONE, NLM_F_REQUEST, NLM_F_DUMP = 3, 1, 0x300
NEWSETELEM, GETSETELEM, NEWGEN = 12, 13, 15
NFPROTO_INET = 1


class Kernel:
    """What nf_tables tells of its sets."""

    def __init__(self):
        self.events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.events.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.events.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
        self.events.settimeout(30)

    def forget(self):
        """What it told so far is of no interest."""
        self.events.setblocking(False)
        try:
            while True:
                self.events.recv(1 << 20)
        except BlockingIOError:
            self.events.settimeout(30)

    def wait_for_element(self):
        """Until a batch that adds an element is complete."""
        has_element = False
        while True:
            for kind, _ in messages(self.events.recv(1 << 20)):
                has_element |= kind == NFTABLES << 8 | NEWSETELEM
                if kind == NFTABLES << 8 | NEWGEN and has_element:
                    return

    def n_elements(self, table, name):
        """How many elements a set holds; none where it is not there."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asked:
            body = struct.pack("BBH", NFPROTO_INET, 0, 0) + attribute(1, table) + attribute(2, name)
            head = struct.pack("=IHHII", 16 + len(body), NFTABLES << 8 | GETSETELEM, NLM_F_REQUEST | NLM_F_DUMP, 0, 0)
            asked.send(head + body)
            n = 0
            while True:
                for kind, body in messages(asked.recv(1 << 20)):
                    if kind != NFTABLES << 8 | NEWSETELEM:
                        return n
                    # All elements are of one size; to read each of half a million would be a load of its own.
                    lists = [value for it, value in attributes(body[4:]) if it == 3 and value]
                    n += sum(len(it) // struct.unpack_from("H", it)[0] for it in lists)


def attribute(kind, text):
    value = text.encode() + b"\0"
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[length + -length % 4:]


def messages(data):
    while len(data) >= 16:
        length, kind = struct.unpack_from("IH", data)
        yield kind, data[16:length]
        data = data[length + -length % 4:]


class Daemon:
    """One of the two, with a folder of its own and jails whose logs lie there."""

    def __init__(self, args, kernel, jails=("sshd",), action="nftables-multiport", options="maxretry = 1"):
        self.args, self.kernel = args, kernel
        self.folder = tempfile.mkdtemp()
        self.config = self.path("fail2ban")
        shutil.copytree("/etc/fail2ban", self.config, symlinks=True)
        open(os.path.join(self.config, "jail.d/defaults-debian.conf"), "w").close()
        text = "[DEFAULT]\nbackend = auto\nbantime = 1d\nfindtime = 1h\nignoreself = false\n"
        text += f"banaction = {action}\n" if action else "action =\n"
        for jail in jails:
            open(self.path(jail), "w").close()
            text += f"\n[{jail}]\nenabled = true\nport = 22\nbackend = auto\nlogpath = {self.path(jail)}\n{options}\n"
        self.write("jail.local", text)
        self.write("fail2ban.local", "[Definition]\nlogtarget = %s\nsocket = %s\npidfile = %s\ndbfile = %s\n" % tuple(
            self.path(it) for it in ("daemon.log", "socket", "pid", "fail2ban.sqlite3")))
        self.jails = jails
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(os.path.join(self.config, name), "w") as out:
            out.write(text)

    def start(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait("its jails", lambda: self.said(f"Jail '{self.jails[-1]}' started"))

    def said(self, words):
        try:
            with open(self.path("daemon.log")) as log:
                return words in log.read()
        except FileNotFoundError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        os.remove(self.path("daemon.log"))

    def end(self):
        self.stop()
        shutil.rmtree(self.folder)

    def append(self, text, jail="sshd"):
        with open(self.path(jail), "a") as log:
            log.write(text)

    def n_banned(self):
        return self.kernel.n_elements(*self.SET)

    def counted(self, what):
        """A number of the jail's status."""
        done = subprocess.run(self.client() + ["status", "sshd"], capture_output=True, text=True)
        found = [line.split()[-1] for line in done.stdout.splitlines() if what in line]
        return int(found[0]) if found else 0

    def pss(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as told:
            return next(int(line.split()[1]) for line in told if line.startswith("Pss:")) / 1024

    def cpu(self):
        """Seconds, with those of the programs that it started."""
        with open(f"/proc/{self.process.pid}/stat") as told:
            fields = told.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS


class Ours(Daemon):
    NAME = "fail2misp"
    SET = ("fail2misp", "addr4-sshd.1")

    def command(self):
        return [self.args.ours, *self.flags(), "run", "--only", "guard"]

    def client(self):
        return [self.args.ours, *self.flags()]

    def flags(self):
        return ["--config", "/dev/null", "--fail2ban-dir", self.config, "--state", self.path("state"),
                "--runtime", self.path("run")]


class Fail2ban(Daemon):
    NAME = "fail2ban"
    SET = ("f2b-table", "addr-set-sshd")

    def command(self):
        return ["fail2ban-server", "-f", "-c", self.config]

    def client(self):
        return ["fail2ban-client", "-c", self.config, "-s", self.path("socket")]


def wait(what, happens, pause=0.02):
    begun = time.monotonic()
    while True:
        looked = time.monotonic()
        if happens():
            return
        if looked - begun > PATIENCE:
            sys.exit(f"{what}: not after {PATIENCE} s")
        # A look must not keep the daemon from its work.
        time.sleep(max(pause, 4 * (time.monotonic() - looked)))


def failed(n):
    """A failed login of attacker `n`."""
    address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
    now = time.strftime("%b %e %H:%M:%S")
    return f"{now} web1 sshd[{1000 + n % 30000}]: Failed password for root from {address} port {1024 + n % 60000} ssh2\n"


def harmless(n):
    now = time.strftime("%b %e %H:%M:%S")
    return f"{now} web1 sshd[{1000 + n % 30000}]: Accepted publickey for deploy from 192.0.2.7 port {1024 + n % 60000} ssh2\n"


def stock_jails():
    """The jails of fail2ban's own configuration whose filters bear their names."""
    with open("/etc/fail2ban/jail.conf") as text:
        names = [line[1:line.index("]")] for line in text if line.startswith("[")]
    return [it for it in names if os.path.exists(f"/etc/fail2ban/filter.d/{it}.conf")]


def row(what, side, figure):
    print(f"{what:<34} {side.NAME:<10} {figure}", flush=True)


def line(side, args, kernel):
    daemon = side(args, kernel)
    daemon.start()
    dice, took = random.Random(7), []
    n_samples = args.samples if side is Ours else max(args.samples // 50, 1)
    for n in range(n_samples):
        # fail2ban looks every fifth of a second: it needs wider distances to be met at random.
        time.sleep(dice.uniform(0, 0.004 if side is Ours else 0.6))
        kernel.forget()
        begun = time.perf_counter()
        daemon.append(failed(n))
        kernel.wait_for_element()
        took.append((time.perf_counter() - begun) * 1000)
    daemon.end()
    took.sort()
    at = lambda share: took[int(len(took) * share)]
    row(f"line to kernel, {n_samples} lines", side, f"p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, worst {took[-1]:.2f} ms")


def bans(side, args, kernel):
    """Bans many at once, then again after a restart."""
    daemon = side(args, kernel)
    daemon.start()
    lines = "".join(failed(n) for n in range(args.bans))
    begun, cpu = time.monotonic(), daemon.cpu()
    daemon.append(lines)
    wait("all bans", lambda: daemon.n_banned() >= args.bans)
    row(f"{args.bans} attackers at once", side, f"{time.monotonic() - begun:.2f} s, {daemon.cpu() - cpu:.2f} CPU s")
    begun = time.monotonic()
    daemon.stop()
    stopped = time.monotonic()
    daemon.start()
    wait("all bans again", lambda: daemon.n_banned() >= args.bans)
    row(f"restart until {args.bans} are back", side,
        f"{time.monotonic() - stopped:.2f} s, and {stopped - begun:.2f} s to stop; {daemon.cpu():.2f} CPU s")
    daemon.end()


def idle(side, args, kernel):
    daemon = side(args, kernel, jails=stock_jails()[:N_IDLE_JAILS])
    daemon.start()
    for jail in daemon.jails:
        daemon.append(harmless(0), jail)
    time.sleep(IDLE_AFTER)
    cpu = daemon.cpu()
    time.sleep(IDLE_SECONDS)
    share = 100 * (daemon.cpu() - cpu) / IDLE_SECONDS
    row(f"{N_IDLE_JAILS} jails, idle", side, f"{daemon.pss():.1f} MB, {share:.2f} % of a processor")
    daemon.end()


def many(side, args, kernel):
    daemon = side(args, kernel) if side is Ours else side(args, kernel, action=None)
    daemon.start()
    daemon.append("".join(failed(n) for n in range(args.many)))
    pause = 0.1 if side is Ours else 2
    wait("all bans", lambda: daemon.counted("Currently banned") >= args.many, pause)
    time.sleep(MINUTE)
    made = daemon.pss()
    daemon.stop()
    daemon.start()
    wait("all bans again", lambda: daemon.counted("Currently banned") >= args.many, pause)
    row(f"memory with {args.many} bans", side, f"{made:.1f} MB, {daemon.pss():.1f} MB after a restart")
    daemon.end()


def lines(side, args, kernel):
    daemon = side(args, kernel, action=None, options="maxretry = 1000000")
    daemon.start()
    text = "".join(harmless(n) if n % 10 else failed(n % 100) for n in range(args.lines))
    begun, cpu = time.monotonic(), daemon.cpu()
    daemon.append(text)
    wait("all failures", lambda: daemon.counted("Total failed") >= args.lines // 10, 0.005 if side is Ours else 1)
    took = time.monotonic() - begun
    row(f"{args.lines} lines at once", side,
        f"{took:.2f} s, {daemon.cpu() - cpu:.2f} CPU s, {args.lines / took:,.0f} lines/s")
    daemon.end()


def flood(side, args, kernel):
    if side is not Ours:
        return
    daemon = side(args, kernel)
    daemon.start()
    part = "".join(harmless(n) for n in range(FLOOD_BYTES // 100 // len(harmless(0))))
    late, begun, n_bytes, n = [], time.monotonic(), 0, 0
    while (now := time.monotonic() - begun) < FLOOD_SECONDS:
        if n_bytes > now * FLOOD_BYTES:
            time.sleep(0.001)
            continue
        daemon.append(part)
        n_bytes += len(part)
        n += 1
        if n % 50 == 0:
            kernel.forget()
            written = time.perf_counter()
            daemon.append(failed(n))
            kernel.wait_for_element()
            late.append((time.perf_counter() - written) * 1000)
    late.sort()
    row(f"flood of {n_bytes / 1e6 / FLOOD_SECONDS:.1f} MB/s, {FLOOD_SECONDS} s", side,
        f"a ban after p50 {late[len(late) // 2]:.2f} ms, worst {late[-1]:.2f} ms; {daemon.cpu():.1f} CPU s, {daemon.pss():.1f} MB")
    daemon.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default=os.path.join(TARGET, "release/fail2misp"))
    measures = {it.__name__: it for it in (line, bans, idle, many, lines, flood)}
    parser.add_argument("--only", choices=measures, help="one of the above alone; restart comes with bans")
    parser.add_argument("--without-fail2ban", action="store_true")
    for name, default in (("samples", 10_000), ("bans", 10_000), ("many", 100_000), ("lines", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    os.environ["TZ"] = "UTC"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    kernel = Kernel()
    sides = [Ours] if args.without_fail2ban else [Ours, Fail2ban]
    for name, measure in measures.items():
        if args.only in (None, name):
            for side in sides:
                measure(side, args, kernel)


main()
