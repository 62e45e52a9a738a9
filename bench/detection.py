#!/usr/bin/env python3
"""Detection beside fail2ban-regex: the same file, the same filter, the same run.

usage: bench/detection.py [--lines N] [--runs N] [--quick] [--table] [--ours PROGRAM] [--logs DIR]

Prints for each input: lines a second of `fail2misp regex` on one processor and on all, and of `fail2ban-regex`, the
ratios, the peak memory of both, and whether both call the same lines matched, ignored and missed. Beside them stand
`rg -c` of three literals and fail2ban-rs with its own patterns, where they are installed: two programs that do less.
Then ten jails on one log beside one, and how long all stock jails take to be read and compiled.

Runs of ours on one processor and on all take turns, `--runs` times; the median counts. fail2ban-regex runs once.
Needs a release build of fail2misp, and Debian's package fail2ban. TZ is UTC for all of them. For the rest:
  cargo build --release -p jail --example pass
  cargo install fail2ban-rs --version ^1.5 --root target/bench
The exit code is 1 where the two do not agree.
"""
import argparse, os, re, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
FAIL2BAN = "/etc/fail2ban"
SEED = 42
INPUTS = [  # filter, kind of log
    ("sshd", "auth"),
    ("sshd[mode=aggressive]", "auth"),
    ("postfix", "mail"),
    ("dovecot", "mail"),
    ("nginx-http-auth", "nginx-error"),
    ("nginx-botsearch", "nginx"),
]
TEN_JAILS = "sshd dropbear postfix dovecot proftpd pure-ftpd vsftpd sendmail-auth webmin-auth pam-generic".split()
STARTS = 9  # of all jails; the median counts


def log(kind, args):
    lines = args.lines
    path = os.path.join(args.logs, f"{kind}-{lines}.log")
    if not os.path.exists(path):
        os.makedirs(args.logs, exist_ok=True)
        generator = os.path.join(ROOT, "bench", "gen_logs.py")
        subprocess.run([sys.executable, generator, kind, path + ".new", "--lines", str(lines), "--seed", str(SEED)], check=True)
        os.rename(path + ".new", path)
    with open(path, "rb") as file:  # every run reads it from memory
        while file.read(1 << 24):
            pass
    return path


def timed(command, processors=None):
    """Seconds, peak KiB (0 where GNU time is not installed) and output of one run."""
    gnu_time = shutil.which("time")  # a child of this process would count this process's memory as its own
    pin = (lambda: os.sched_setaffinity(0, processors)) if processors else None
    with tempfile.TemporaryFile() as out, tempfile.NamedTemporaryFile("r") as peak:
        wrapped = [gnu_time, "-q", "-f", "%M", "-o", peak.name, *command] if gnu_time else command
        start = time.perf_counter()
        subprocess.run(wrapped, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "TZ": "UTC"}, preexec_fn=pin)
        seconds = time.perf_counter() - start
        out.seek(0)
        return seconds, int(peak.read() or 0), out.read().decode(errors="replace")


def tally(output):
    found = re.search(r"^Lines: .*$", output, re.M)
    return found.group(0) if found else "no tally: " + output[-200:]


def matched_lines(output):
    block = output.split("|- Matched line(s):\n", 1)
    return block[1].split("`-\n", 1)[0] if len(block) > 1 else ""


def compare(name, kind, args):
    path = log(kind, args)
    quiet = ["--print-no-missed", "--print-no-ignored"]
    one_processor = {min(os.sched_getaffinity(0))}
    one, every = [], []
    for _ in range(args.runs):
        one.append(timed([args.ours, "regex", *quiet, path, name], one_processor))
        every.append(timed([args.ours, "regex", *quiet, path, name]))
    seconds = [statistics.median(run[0] for run in runs) for runs in (one, every)]
    memory = max(run[1] for run in one + every)
    row = [name, kind, *(f"{args.lines / it:,.0f}" for it in seconds), f"{memory / 1024:.1f}"]
    if args.quick:
        return row + ["-", "-", "-", "-", "not asked"]
    theirs = timed(["fail2ban-regex", *quiet, path, name])
    loud = [*quiet, "--print-all-matched", path, name]
    same_tally = tally(one[0][2]) == tally(every[0][2]) == tally(theirs[2])
    same_lines = matched_lines(timed([args.ours, "regex", *loud])[2]) == matched_lines(timed(["fail2ban-regex", *loud])[2])
    return row + [
        f"{args.lines / theirs[0]:,.0f}",
        f"{theirs[1] / 1024:.1f}",
        *(f"{theirs[0] / it:.0f}x" for it in seconds),
        "same" if same_tally and same_lines else f"DIFFER: {tally(one[0][2])} / {tally(theirs[2])}",
    ]


def mark(name, command, path, args):
    """A program that does less, on the auth log."""
    seconds, memory, _ = timed([*command, path])
    print(f"mark: {name}: {args.lines / seconds:,.0f} lines/s, {memory / 1024:.1f} MiB")


def marks(args):
    path = log("auth", args)
    rg = shutil.which("rg")
    if rg:
        mark("rg -c of three literals", [rg, "-c", "Failed password|Invalid user|authentication failure"], path, args)
    else:
        print("mark: rg is not installed")
    rs = shutil.which("fail2ban-rs", path=os.path.join(TARGET, "bench", "bin") + ":" + os.environ.get("PATH", ""))
    if rs:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(subprocess.run([rs, "gen-config", "sshd"], capture_output=True, text=True).stdout)
            config.flush()
            mark("fail2ban-rs dry-run, its own sshd patterns", [rs, "-c", config.name, "dry-run"], path, args)
    else:
        print("mark: fail2ban-rs is not installed")


def ten_jails(args):
    example = os.path.join(TARGET, "release", "examples", "pass")
    if not os.path.exists(example):
        return print("ten jails: the example is not built")
    rate = lambda filters: float(timed([example, log("auth", args), FAIL2BAN, *filters])[2].split()[0])
    pairs = [(rate(TEN_JAILS[:1]), rate(TEN_JAILS)) for _ in range(args.runs)]
    one, ten = (statistics.median(it) for it in zip(*pairs))
    share = statistics.median(ten / one for one, ten in pairs)
    print(f"ten jails on one log, line by line: {ten:,.0f} lines/s, {share:.0%} of one jail's {one:,.0f}")


def start(args):
    with tempfile.TemporaryDirectory() as temp:
        folder = shutil.copytree(FAIL2BAN, os.path.join(temp, "fail2ban"))
        with open(os.path.join(folder, "jail.local"), "w") as local:
            local.write("[DEFAULT]\nenabled = true\n")
        runs = [timed([args.ours, "--fail2ban-dir", folder, "check"]) for _ in range(STARTS)]
        seconds, memory = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
        print(f"all stock jails read and compiled: {1000 * seconds:.0f} ms, {memory / 1024:.1f} MiB")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lines", type=int, default=1_000_000)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--quick", action="store_true", help="ours alone")
    ap.add_argument("--table", action="store_true", help="the table alone")
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    ap.add_argument("--logs", default=os.path.join(TARGET, "bench"), help="where the generated logs are kept")
    args = ap.parse_args()
    if not os.path.exists(args.ours):
        sys.exit(f"{args.ours} is not there; run `cargo build --release` first")
    n_processors = len(os.sched_getaffinity(0))
    head = ["filter", "log", "ours/s on 1", f"on {n_processors}", "MiB", "fail2ban-regex/s", "MiB", "x on 1", f"x on {n_processors}", "lines"]
    form = "{:<23}{:<12}{:>12}{:>12}{:>7}{:>18}{:>7}{:>8}{:>8}  {}"
    print(form.format(*head))
    wrong = False
    for name, kind in INPUTS:
        row = compare(name, kind, args)
        wrong |= row[-1].startswith("DIFFER")
        print(form.format(*row), flush=True)
    if not args.table:
        marks(args)
        ten_jails(args)
        start(args)
    print(f"{args.lines:,} lines a log, seed {SEED}, {n_processors} processors, median of {args.runs} runs of ours")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
