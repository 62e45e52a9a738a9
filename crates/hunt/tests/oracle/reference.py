#!/usr/bin/env python3
"""What a search must find, said slowly and plainly.

usage: reference.py make FOLDER SEED          writes `indicators` and logs in every packing
       reference.py find INDICATORS LOG...    prints {indicator: {log: lines that hold it}} as JSON
"""
import bz2, gzip, ipaddress, json, lzma, os, random, re, subprocess, sys

WORD = rb"[0-9A-Za-z_]"
V4 = re.compile(rb"(?<!%b)(?<!%b\.)\d{1,3}(?:\.\d{1,3}){3}(?!%b)(?!\.%b)" % (WORD, WORD, WORD, WORD))
RUN = re.compile(rb"[0-9A-Fa-f:]+")
TAIL = re.compile(rb"\.[0-9.]*")


def canonical(text):
    addr = ipaddress.ip_address(text)
    return getattr(addr, "ipv4_mapped", None) or addr


def is_word(line, at):
    return 0 <= at < len(line) and re.match(WORD, line[at : at + 1]) is not None


def edges_are_free(line, start, end):
    before = is_word(line, start - 2 if line[start - 1 : start] == b"." and start else start - 1)
    after = is_word(line, end + 1 if line[end : end + 1] == b"." else end)
    return not before and not after


def v6_in(line):
    """Spans and addresses of all IPv6 tokens."""
    for run in RUN.finditer(line):
        start, end = run.span()
        if b":" not in run.group():
            continue
        tail = TAIL.match(line, end)
        if tail:
            end = start + len(line[start : tail.end()].rstrip(b"."))
        if is_word(line, start - 1):  # a label: IPv6:2001:db8::1
            start += line[start:end].index(b":") + 1
        token = line[start:end]
        if token.startswith(b":") and not token.startswith(b"::"):
            start += 1
        if token.endswith(b":") and not token.endswith(b"::"):
            end -= 1
        try:
            addr = ipaddress.IPv6Address(line[start:end].decode())
        except ValueError:
            continue
        if edges_are_free(line, start, end):
            yield (start, end), canonical(str(addr))


def addresses(line):
    v6 = list(v6_in(line))
    found = {addr for _, addr in v6}
    for quad in V4.finditer(line):
        if any(start <= quad.start() < end for (start, end), _ in v6):
            continue
        try:
            found.add(ipaddress.IPv4Address(quad.group().decode()))
        except ValueError:
            pass
    return found


def read(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    opener = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}.get(os.path.splitext(path)[1], open)
    with opener(path, "rb") as file:
        return file.read()


def find(indicators, logs):
    single = {canonical(it) for it in indicators if "/" not in it}
    nets = {ipaddress.ip_network(it) for it in indicators if "/" in it}
    found = {}
    for log in logs:
        for line in read(log).split(b"\n"):
            here = addresses(line)
            hits = {str(addr) for addr in here & single}
            hits |= {str(net) for net in nets for addr in here if addr.version == net.version and addr in net}
            for hit in hits:
                by_log = found.setdefault(hit, {})
                by_log[log] = by_log.get(log, 0) + 1
    return found


def make(folder, seed):
    dice = random.Random(seed)
    pool4 = ["%d.%d.%d.%d" % (dice.choice((1, 10, 192, 203)), dice.randrange(4), dice.randrange(4), dice.randrange(256)) for _ in range(150)]
    pool6 = [str(ipaddress.IPv6Address((0x20010DB8 << 96) | dice.choice((1, 0xFFFF << 48, 7 << 64)) * dice.randrange(65536))) for _ in range(80)]
    nets = ["10.1.0.0/16", "10.1.2.0/24", "192.0.0.0/10", "203.3.3.128/25", "2001:db8::/48", "2001:db8::/112"]
    with open(os.path.join(folder, "indicators"), "w") as file:
        file.write("\n".join(pool4[:80] + pool6[:40] + nets) + "\n")

    def spelled():
        if dice.random() < 0.6:
            addr = dice.choice(pool4)
            return dice.choice(("%s", "%s", "%s", "::ffff:%s", "[%s]", "%s:%d" % ("%s", dice.randrange(65536)), "%s/24", "64:ff9b::%s")) % addr
        addr = ipaddress.IPv6Address(dice.choice(pool6))
        text = dice.choice((addr.compressed, addr.exploded, addr.compressed.upper()))
        return dice.choice(("%s", "%s", "[%s]:22", "IPv6:%s", "%s%%eth0", "%s/64", "%s:")) % text

    def noise():
        return dice.choice((
            "06:05:09", "1.2.3", "11.22.33.44.55", "HTTP/1.1", "Chrome/126.0.0.0", "std::deque", "00:11:22:33:44:55", "::", "v1.2.3.4",
            "10.1.2.300", "010.1.2.3", "x::y", "a.b.c.d", "2026-11-22", "\u00e9", "10.1.2.3.example.org", "-", "=", "1..2..3",
            "".join(dice.choice("0123456789abcdef:.") for _ in range(dice.randrange(1, 24))),
        ))

    for name in ("plain.log", "a.log.gz", "b.log.xz", "c.log.bz2", "d.log.zst"):
        lines = []
        for _ in range(400):
            words = [dice.choice((spelled, noise, noise))() for _ in range(dice.randrange(6))]
            glue = dice.choice((" ", " ", " ", ",", "", ".", "_", "-", ":", "(", "\t"))
            lines.append(glue.join(words))
        text = "\n".join(lines).encode() + dice.choice((b"", b"\n"))
        path = os.path.join(folder, name)
        half = len(text) // 3  # archives one after the other are one
        pack = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}.get(os.path.splitext(name)[1])
        if name.endswith(".zst"):
            pack = lambda part: subprocess.run(["zstd", "-cq"], input=part, check=True, stdout=subprocess.PIPE).stdout
        with open(path, "wb") as file:
            file.write(pack(text[:half]) + pack(text[half:]) if pack else text)


if sys.argv[1] == "make":
    make(sys.argv[2], int(sys.argv[3]))
else:
    with open(sys.argv[2]) as file:
        print(json.dumps(find(file.read().split(), sys.argv[3:])))
