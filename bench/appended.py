#!/usr/bin/env python3
"""A whole log appended at once, to the daemon and to fail2ban-server in the same run.

usage: bench/appended.py [--lines N] [--runs N] [--quick] [--dry-run] [--ours PROGRAM] [--logs DIR]

Each of the two follows a log with Debian's jail sshd, writes its own log to a file and its memory to the disk.
Then the lines of gen_logs.py are appended in one go, and behind them an attacker of whom both must log a ban last.
Printed are the seconds from the first byte appended to that ban, the seconds of processor time until then, and what
each has logged: as many failures, and bans of the same addresses.

Ours bans in the kernel, in a network namespace of its own (so it needs root), or only says so with --dry-run.
fail2ban-server is spared that: its jail has no action. Ours runs `--runs` times and the median counts.
Needs a release build of fail2misp, and Debian's package fail2ban. The exit code is 1 where the two do not agree.
"""
import argparse, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
SEED = 42
LAST = "203.0.113.254"  # the generator knows no such attacker
MAX_RETRY = 5
PATIENCE = 600  # seconds; fail2ban-server takes a minute for a million lines
TICKS = os.sysconf("SC_CLK_TCK")


def generated(args):
    path = os.path.join(args.logs, f"auth-{args.lines}.log")
    if not os.path.exists(path):
        os.makedirs(args.logs, exist_ok=True)
        generator = os.path.join(ROOT, "bench", "gen_logs.py")
        command = [sys.executable, generator, "auth", path + ".new", "--lines", str(args.lines), "--seed", str(SEED)]
        subprocess.run(command, check=True)
        os.rename(path + ".new", path)
    with open(path, "rb") as file:
        lines = file.read()
    return lines + f"Nov 22 06:00:00 srv1 sshd[9]: Failed password for root from {LAST} port 9 ssh2\n".encode() * MAX_RETRY


def configure(folder, action):
    """Debian's configuration with one jail, everything that is written beside it."""
    config = os.path.join(folder, "fail2ban")
    shutil.copytree("/etc/fail2ban", config)
    at = lambda name: os.path.join(folder, name)
    for name in os.listdir(os.path.join(config, "jail.d")):
        os.remove(os.path.join(config, "jail.d", name))
    with open(os.path.join(config, "jail.local"), "w") as jails:
        jails.write(f"[sshd]\nenabled = true\nbackend = auto\nlogpath = {at('auth.log')}\nmaxretry = {MAX_RETRY}\n{action}\n")
    with open(os.path.join(config, "fail2ban.local"), "w") as server:
        server.write(f"[Definition]\nlogtarget = {at('own.log')}\nsocket = {at('socket')}\npidfile = {at('pid')}\n")
        server.write(f"dbfile = {at('fail2ban.sqlite3')}\n")
    open(at("own.log"), "w").close()
    with open(at("auth.log"), "w") as log:  # what is appended to an empty one counts as old
        log.write("Nov 21 06:00:00 srv1 sshd[9]: Server listening on 0.0.0.0 port 22.\n")
    return config


def wait_for(what, log, process):
    """Waits until the last lines of a log hold `what`; looks at its end alone, so as not to disturb."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 65536))
            if what.encode() in file.read():
                return
        if process.poll() is not None:
            break
        time.sleep(0.002)
    sys.exit(f"{log} never says `{what}`")


def processor_seconds(pid):
    """Of the process and of its children that have ended."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def appended(lines, command, action):
    """Wall-clock seconds, processor seconds, and what was logged."""
    with tempfile.TemporaryDirectory(prefix="appended-", dir=TARGET) as folder:
        config = configure(folder, action)
        own_log = os.path.join(folder, "own.log")
        # A dry run writes no log but to standard error.
        with open(own_log, "ab") as err:
            process = subprocess.Popen(
                command(config, folder), stdout=subprocess.DEVNULL, stderr=err, env={**os.environ, "TZ": "UTC"}
            )
        try:
            wait_for("Jail 'sshd' started", own_log, process)
            time.sleep(0.5)  # whatever else a start does
            before = processor_seconds(process.pid)
            with open(os.path.join(folder, "auth.log"), "ab", buffering=0) as log:
                start = time.perf_counter()
                log.write(lines)
            wait_for(f"[sshd] Ban {LAST}", own_log, process)
            seconds = time.perf_counter() - start
            processor = processor_seconds(process.pid) - before
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        with open(own_log) as log:
            text = log.read()
        bans = re.findall(r"\[sshd\] Ban (\S+)", text)
        return seconds, processor, len(re.findall(r"\[sshd\] Found ", text)), sorted(bans)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lines", type=int, default=1_000_000)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--quick", action="store_true", help="ours alone")
    ap.add_argument("--dry-run", action="store_true", help="moves no firewall")
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    ap.add_argument("--logs", default=os.path.join(TARGET, "bench"), help="where the generated logs are kept")
    args = ap.parse_args()
    lines = generated(args)

    def ours(config, folder):
        command = [args.ours, "--fail2ban-dir", config, "--state", folder, "--runtime", folder]
        command += ["--config", os.path.join(folder, "none.toml"), "run", "--only", "guard"]
        return command + ["--dry-run"] if args.dry_run else ["unshare", "--net", *command]

    def theirs(config, folder):
        return ["fail2ban-server", "-c", config, "-p", os.path.join(folder, "pid"), "-s", os.path.join(folder, "socket"), "-f", "start"]

    runs = [appended(lines, ours, "banaction = nftables-multiport") for _ in range(args.runs)]
    seconds, processor = (statistics.median(run[place] for run in runs) for place in (0, 1))
    n_found, bans = runs[0][2:]
    n_lines = lines.count(b"\n")
    say = lambda who, seconds, processor, n_found, n_bans: print(
        f"{who:16} {seconds:7.3f} s  {processor:7.2f} s of processor  {n_lines / seconds:12,.0f} lines/s  "
        f"{n_found:,} Found  {n_bans:,} Ban"
    )
    say("fail2misp", seconds, processor, n_found, len(bans))
    agree = all(run[2:] == (n_found, bans) for run in runs)
    if not args.quick:
        their_seconds, their_processor, their_found, their_bans = appended(lines, theirs, "action =")
        say("fail2ban-server", their_seconds, their_processor, their_found, len(their_bans))
        agree &= (their_found, their_bans) == (n_found, bans)
        print(f"{their_seconds / seconds:.0f} times as fast, {their_processor / processor:.0f} times less processor time")
    print("the same failures and bans" if agree else "NOT the same failures and bans")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
