#!/usr/bin/env python3
"""The look back beside grep and rg: the same logs, the same indicators, the same run.

usage: bench/hunt.py [--mb N] [--slice-mb N] [--indicators N] [--runs N] [--ours PROGRAM] [--logs DIR]

Makes a slice of sshd's and nginx's logs, in turns of a megabyte, repeats it up to `--mb` megabytes, packs it, and makes a list
of addresses, twenty of which the logs hold. Prints for each way of searching: seconds, CPU seconds, GB of text a second, peak
memory, and how many lines of the log hold an indicator; then each figure beside what it is to reach. grep and rg get the slice
alone, as they need a minute for a gigabyte, and so do we beside them. The best of `--runs` counts.
Needs a release build of fail2misp, GNU time, gzip and zstd; rg where it is installed. 1.3 GB of disk. The exit code is 1 where
they do not agree on the hits; a figure that is not reached is marked and changes no exit code.
Short form: `bench/hunt.py --mb 100 --slice-mb 20 --indicators 100000 --runs 1`.
"""
import argparse, itertools, json, os, random, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
SEED = 7
KNOWN = 20
# Its automaton of a million addresses was killed for lack of memory at 7.3 GB.
RG_KILOBYTES = 16
# A line of auth.log has 107 bytes, one of nginx 179.
KINDS = (("auth", 107), ("nginx", 179))


def turns(path):
    """The lines of a log, a megabyte at a time."""
    with open(path, "rb") as text:
        while piece := text.readlines(1 << 20):
            yield b"".join(piece)


def make_logs(args):
    """The slice and the log; the latter also as .gz and .zst."""
    os.makedirs(args.logs, exist_ok=True)
    piece = os.path.join(args.logs, f"slice-{args.slice_mb}.log")
    if not os.path.exists(piece):
        parts = [f"{piece}.{kind}" for kind, _ in KINDS]
        for part, (kind, line_bytes) in zip(parts, KINDS):
            lines = str(args.slice_mb * 500_000 // line_bytes)
            generator = os.path.join(ROOT, "bench", "gen_logs.py")
            subprocess.run([sys.executable, generator, kind, part, "--lines", lines], check=True)
        with open(piece + ".new", "wb") as out:
            for pair in itertools.zip_longest(*map(turns, parts), fillvalue=b""):
                out.writelines(pair)
        for part in parts:
            os.remove(part)
        os.rename(piece + ".new", piece)
    path = os.path.join(args.logs, f"mixed-{args.mb}-of-{args.slice_mb}.log")
    if not os.path.exists(path):
        with open(path + ".new", "wb") as out:
            for _ in range(max(1, args.mb // args.slice_mb)):
                with open(piece, "rb") as text:
                    shutil.copyfileobj(text, out, 1 << 20)
        os.rename(path + ".new", path)
    for suffix, pack in ((".gz", ["gzip", "-kf"]), (".zst", ["zstd", "-qkf"])):
        if not os.path.exists(path + suffix):
            subprocess.run([*pack, path], check=True)
    return piece, path


def make_indicators(args, piece):
    """A list of IPv4 addresses, and one that has IPv6 and prefixes besides."""
    dice = random.Random(SEED)
    plain = os.path.join(args.logs, f"indicators-{args.indicators}.txt")
    with open(piece, "rb") as text:
        words = (line.split(b" from ")[-1].split(b" ")[0] for line in text if b"Failed password" in line)
        known = list(itertools.islice(dict.fromkeys(words), KNOWN))
    with open(plain, "w") as out:
        for address in known:
            out.write(address.decode() + "\n")
        for _ in range(args.indicators - len(known)):
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
        run = subprocess.run(["/usr/bin/time", "-q", "-f", "%e %U %S %M", "-o", told.name, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wall, user, system, memory = map(float, told.read().split())
    return max(wall, 0.01), user + system, memory / 1024, run.stdout.decode(errors="replace")


def free_gigabytes():
    with open("/proc/meminfo") as text:
        available = next(line for line in text if line.startswith("MemAvailable"))
    return int(available.split()[1]) / 1e6


def best(command, runs):
    return min((timed(command) for _ in range(runs)), key=lambda run: run[0])


def row(name, gigabytes, run, lines):
    wall, cpu, memory, _ = run
    print(f"{name:<34}{wall:>8.2f}{cpu:>8.2f}{gigabytes / wall:>8.2f}{gigabytes / max(cpu, 1e-2):>10.2f}{memory:>8.0f}  {lines}", flush=True)


def figure(name, got, want, least=True):
    reached = got >= want if least else got <= want
    print(f"{'  ' if reached else '! '}{name:<60}{got:>8.2f}  {'≥' if least else '≤'} {want:g}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--mb", type=int, default=1000)
    ap.add_argument("--slice-mb", type=int, default=100, help="what grep and rg get")
    ap.add_argument("--indicators", type=int, default=1_000_000)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--ours", default=os.path.join(TARGET, "release", "fail2misp"))
    ap.add_argument("--logs", default=os.path.join(TARGET, "bench"), help="where the generated logs are kept")
    args = ap.parse_args()
    if not os.path.exists(args.ours):
        sys.exit(f"{args.ours} is not there; run `cargo build --release` first")
    piece, log = make_logs(args)
    plain, mixed = make_indicators(args, piece)
    size = {path: os.path.getsize(path) / 1e9 for path in (piece, log)}
    for path in (log, log + ".gz", log + ".zst"):  # every run reads them from memory
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
    print(f"{'':<34}{'wall s':>8}{'CPU s':>8}{'GB/s':>8}{'GB/CPU s':>10}{'MiB':>8}  lines with a hit")
    runs, hits = {}, {}

    def hunt(name, indicators, path, threads, gigabytes):
        run = best([args.ours, "hunt", "-i", indicators, path, "--json", "--threads", threads], args.runs)
        answers = [json.loads(line) for line in run[3].splitlines()]
        runs[name] = run
        hits[name] = sum(answer.get("count", 0) for answer in answers)
        row(name, gigabytes, run, hits[name])

    hunt("no log: loading the list", plain, os.devnull, "1", 0)
    hunt("hunt, one thread", plain, log, "1", size[log])
    hunt("hunt, two threads", plain, log, "2", size[log])
    hunt("hunt, IPv6 and prefixes, one", mixed, log, "1", size[log])
    for packed in (".gz", ".zst"):
        hunt(f"hunt, {packed}, one thread", plain, log + packed, "1", size[log])
        hunt(f"hunt, {packed}, two threads", plain, log + packed, "2", size[log])
    hunt("hunt, the slice, one thread", plain, piece, "1", size[piece])
    wrong = len({n for name, n in hits.items() if "IPv6" not in name and "no log" not in name and "slice" not in name}) != 1
    for name in ("grep", "rg"):
        if not shutil.which(name):
            print(f"{name} is not installed")
            continue
        if name == "rg" and free_gigabytes() < RG_KILOBYTES * args.indicators / 1e6:
            print(f"rg takes {RG_KILOBYTES} kB for each address of the list, and there is no room")
            continue
        run = timed([name, "-F", "-w", "-c", "-f", plain, piece])
        runs[name] = run
        row(f"{name} -F -w -f, the slice", size[piece], run, run[3].strip())
        wrong |= int(run[3] or -1) != hits["hunt, the slice, one thread"]
    with tempfile.TemporaryDirectory() as empty:
        folders = ["--config", f"{empty}/none", "--state", empty, "--runtime", empty]
        who = best([args.ours, *folders, "who", "192.0.2.7", os.devnull, "--offline", "--json"], 2 * args.runs)
    row("who, without the network", 0, who, "")

    wall = {name: run[0] for name, run in runs.items()}
    one = wall["hunt, one thread"]
    print()
    figure("one thread, GB/s", size[log] / one, 1)
    figure("two threads, times one", one / wall["hunt, two threads"], 1.8)
    if "grep" in wall:
        figure("times grep, on the slice", wall["grep"] / wall["hunt, the slice, one thread"], 20)
    figure(".gz on one thread, GB/s of text", size[log] / wall["hunt, .gz, one thread"], 0.35)
    figure(".zst, unpacked on a second one, GB/s of text", size[log] / wall["hunt, .zst, two threads"], 0.6)
    figure("the most memory, MiB", max(run[2] for name, run in runs.items() if "hunt" in name), 150, least=False)
    figure("IPv6 and prefixes cost, share", wall["hunt, IPv6 and prefixes, one"] / one - 1, 0.25, least=False)
    figure("loading the list, seconds", wall["no log: loading the list"], 0.3, least=False)
    figure("who, seconds", who[0], 0.1, least=False)
    print(f"{size[log]:.2f} GB, {args.indicators:,} indicators, seed {SEED}, {os.cpu_count()} cores, best of {args.runs}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
