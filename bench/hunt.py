#!/usr/bin/env python3
"""The look back beside grep and rg: the same logs, the same indicators, the same run.

usage: bench/hunt.py [--mb N] [--indicators N] [--runs N] [--slow] [--ours PROGRAM] [--logs DIR]

Makes logs of sshd and nginx of about `--mb` megabytes and a list of addresses, and prints for each way of
searching: seconds, CPU seconds, GB of text a second, peak memory, and how many lines of the log hold an indicator. `--slow` runs
`grep -F -w -f` (and `rg -F -w -f` where it is installed) on the same: minutes for a gigabyte. The best of `--runs` counts.
Needs a release build of fail2misp, GNU time, and gzip and zstd. The exit code is 1 where they do not agree.
"""
import argparse, json, os, random, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
SEED = 7


def make_logs(args):
    path = os.path.join(args.logs, f"mixed-{args.mb}.log")
    if not os.path.exists(path):
        os.makedirs(args.logs, exist_ok=True)
        with open(path + ".new", "wb") as out:
            # A line of auth.log has 107 bytes, one of nginx 179; half the bytes of each.
            for kind, line_bytes in (("auth", 107), ("nginx", 179)):
                part = f"{path}.{kind}"
                lines = str(args.mb * 500_000 // line_bytes)
                generator = os.path.join(ROOT, "bench", "gen_logs.py")
                subprocess.run([sys.executable, generator, kind, part, "--lines", lines], check=True)
                with open(part, "rb") as text:
                    shutil.copyfileobj(text, out, 1 << 20)
                os.remove(part)
        os.rename(path + ".new", path)
    for suffix, pack in ((".gz", ["gzip", "-k"]), (".zst", ["zstd", "-qk"])):
        if not os.path.exists(path + suffix):
            subprocess.run([*pack, path], check=True)
    return path


def make_indicators(args):
    dice = random.Random(SEED)
    plain = os.path.join(args.logs, f"indicators-{args.indicators}.txt")
    with open(plain, "w") as out:
        for _ in range(args.indicators):
            out.write("%d.%d.%d.%d\n" % tuple(dice.randrange(low, high) for low, high in ((1, 224), (0, 256), (0, 256), (1, 255))))
    mixed = plain.replace(".txt", "-v6-prefixes.txt")
    with open(mixed, "w") as out, open(plain) as text:
        shutil.copyfileobj(text, out)
        for _ in range(args.indicators // 10):
            out.write("2001:db8:%x:%x::%x\n" % tuple(dice.randrange(65536) for _ in range(3)))
        for _ in range(args.indicators // 100):
            out.write("198.%d.%d.0/24\n" % (dice.randrange(20, 256), dice.randrange(256)))
    return plain, mixed


def timed(command):
    """Wall seconds, CPU seconds, peak MiB and output of one run."""
    with tempfile.NamedTemporaryFile("r") as told:
        run = subprocess.run(["/usr/bin/time", "-q", "-f", "%e %U %S %M", "-o", told.name, *command], stdout=subprocess.PIPE)
        wall, user, system, memory = map(float, told.read().split())
    return wall, user + system, memory / 1024, run.stdout.decode(errors="replace")


def best(command, runs):
    return min((timed(command) for _ in range(runs)), key=lambda run: run[0])


def row(name, gigabytes, run, lines):
    wall, cpu, memory, _ = run
    print(f"{name:<34}{wall:>8.2f}{cpu:>8.2f}{gigabytes / wall:>8.2f}{gigabytes / max(cpu, 1e-3):>10.2f}{memory:>8.0f}  {lines}", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mb", type=int, default=1000)
    ap.add_argument("--indicators", type=int, default=1_000_000)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--slow", action="store_true", help="grep and rg, too")
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    ap.add_argument("--logs", default=os.path.join(TARGET, "bench"), help="where the generated logs are kept")
    args = ap.parse_args()
    if not os.path.exists(args.ours):
        sys.exit(f"{args.ours} is not there; run `cargo build --release` first")
    log = make_logs(args)
    plain, mixed = make_indicators(args)
    gigabytes = os.path.getsize(log) / 1e9
    with open(log, "rb") as file:  # every run reads it from memory
        while file.read(1 << 24):
            pass
    print(f"{'':<34}{'wall s':>8}{'CPU s':>8}{'GB/s':>8}{'GB/CPU s':>10}{'MiB':>8}  lines with a hit")
    hits = {}
    ways = [
        ("no log: loading the list", plain, os.devnull, "1"),
        ("hunt, one thread", plain, log, "1"),
        ("hunt, two threads", plain, log, "2"),
        ("hunt, IPv6 and prefixes, one", mixed, log, "1"),
        ("hunt, .gz, one thread", plain, log + ".gz", "1"),
        ("hunt, .zst, one thread", plain, log + ".zst", "1"),
    ]
    for name, indicators, path, threads in ways:
        run = best([args.ours, "hunt", "-i", indicators, path, "--json", "--threads", threads], args.runs)
        answers = [json.loads(line) for line in run[3].splitlines()]
        hits[name] = sum(answer["count"] for answer in answers[:-1])
        row(name, gigabytes if path != os.devnull else 0, run, hits[name])
    wrong = len({n for name, n in hits.items() if "IPv6" not in name and "no log" not in name}) != 1
    if args.slow:
        for name, command in (("grep -F -w -f", ["grep", "-F", "-w", "-c", "-f"]), ("rg -F -w -f", ["rg", "-F", "-w", "-c", "-f"])):
            if shutil.which(command[0]):
                run = timed([*command, plain, log])
                row(name, gigabytes, run, run[3].strip())
                wrong |= int(run[3]) != hits["hunt, one thread"]
            else:
                print(f"{name}: {command[0]} is not installed")
    print(f"{gigabytes:.2f} GB, {args.indicators:,} indicators, seed {SEED}, {os.cpu_count()} cores, best of {args.runs}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
