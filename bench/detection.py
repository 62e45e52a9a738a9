#!/usr/bin/env python3
"""Detection beside fail2ban-regex: the same file, the same filter, the same run.

usage: bench/detection.py [--lines N] [--runs N] [--quick] [--ours PROGRAM] [--logs DIR]

Prints for each input: lines a second and peak memory of `fail2misp regex` and of `fail2ban-regex`, their
ratio, and whether both call the same lines matched, ignored and missed; `rg -c` of
three literals as a mark where it is installed. Ours runs `--runs` times, and the median counts.
Needs a release build of fail2misp, and Debian's package fail2ban. TZ is UTC for all of them.
The exit code is 1 where the two do not agree.
"""
import argparse, os, re, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
SEED = 42
INPUTS = [  # filter, kind of log
    ("sshd", "auth"),
    ("sshd[mode=aggressive]", "auth"),
    ("postfix", "mail"),
    ("dovecot", "mail"),
    ("nginx-http-auth", "nginx-error"),
    ("nginx-botsearch", "nginx"),
]


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


def timed(command):
    """Seconds, peak KiB (0 where GNU time is not installed) and output of one run."""
    gnu_time = shutil.which("time")  # a child of this process would count this process's memory as its own
    with tempfile.TemporaryFile() as out, tempfile.NamedTemporaryFile("r") as peak:
        wrapped = [gnu_time, "-q", "-f", "%M", "-o", peak.name, *command] if gnu_time else command
        start = time.perf_counter()
        subprocess.run(wrapped, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "TZ": "UTC"})
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
    ours = [timed([args.ours, "regex", *quiet, path, name]) for _ in range(args.runs)]
    seconds, memory = statistics.median(run[0] for run in ours), max(run[1] for run in ours)
    row = [name, kind, f"{args.lines / seconds:,.0f}", f"{memory / 1024:.1f}"]
    if args.quick:
        return row + ["-", "-", "-", "not asked"]
    theirs = timed(["fail2ban-regex", *quiet, path, name])
    loud = [*quiet, "--print-all-matched", path, name]
    same_tally = tally(ours[0][2]) == tally(theirs[2])
    same_lines = matched_lines(timed([args.ours, "regex", *loud])[2]) == matched_lines(timed(["fail2ban-regex", *loud])[2])
    return row + [
        f"{args.lines / theirs[0]:,.0f}",
        f"{theirs[1] / 1024:.1f}",
        f"{theirs[0] / seconds:.0f}x",
        "same" if same_tally and same_lines else f"DIFFER: {tally(ours[0][2])} / {tally(theirs[2])}",
    ]


def marks(args):
    path = log("auth", args)
    rg = shutil.which("rg")
    if rg:
        seconds, memory, _ = timed([rg, "-c", "Failed password|Invalid user|authentication failure", path])
        print(f"mark: rg -c of three literals on the auth log: {args.lines / seconds:,.0f} lines/s, {memory / 1024:.1f} MiB")
    else:
        print("mark: rg is not installed")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lines", type=int, default=1_000_000)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--quick", action="store_true", help="ours alone")
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    ap.add_argument("--logs", default=os.path.join(TARGET, "bench"), help="where the generated logs are kept")
    args = ap.parse_args()
    if not os.path.exists(args.ours):
        sys.exit(f"{args.ours} is not there; run `cargo build --release` first")
    head = ["filter", "log", "ours/s", "MiB", "fail2ban-regex/s", "MiB", "ratio", "lines"]
    form = "{:<23}{:<12}{:>12}{:>7}{:>18}{:>7}{:>7}  {}"
    print(form.format(*head))
    wrong = False
    for name, kind in INPUTS:
        row = compare(name, kind, args)
        wrong |= row[-1].startswith("DIFFER")
        print(form.format(*row), flush=True)
    marks(args)
    print(f"{args.lines:,} lines a log, seed {SEED}, {os.cpu_count()} cores, median of {args.runs} runs of ours")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
