#!/usr/bin/env python3
"""What fail2ban finds with our filters in our sample lines: one JSON array per line, name, number, id or null.

The sample lines are read as own_samples/mod.rs says. The clock and the zone are those of fail2ban's own tests.

usage: own.py [--root DIR] FILTERS SAMPLES
"""
import argparse, json, os, pathlib, sys, time

os.environ["TZ"] = "CET-01CEST-02,M3.5.0,M10.5.0"
time.tzset()
ap = argparse.ArgumentParser()
ap.add_argument("--root", default="/usr/lib/python3/dist-packages")
ap.add_argument("filters")
ap.add_argument("samples")
args = ap.parse_args()
sys.path.insert(0, args.root)
from fail2ban.client.filterreader import FilterReader
from fail2ban.server.filter import Filter
from fail2ban.server.mytime import MyTime

MyTime.setTime(1124013600)


def scanner(name, options):
    reader = FilterReader(name, "jail", options, basedir=args.filters)
    assert reader.read(), name
    reader.getOptions({})
    found = Filter(None)
    found.returnRawHost, found.checkFindTime = True, False
    setters = {
        "prefregex": lambda text: setattr(found, "prefRegex", text),
        "addfailregex": found.addFailRegex,
        "addignoreregex": found.addIgnoreRegex,
        "maxlines": found.setMaxLines,
        "datepattern": found.setDatePattern,
    }
    for verb, _, option, *values in reader.convert():
        for text in values[0] if verb == "multi-set" else values:
            setters.get(option, lambda text: None)(text)
    return found


for log in sorted(pathlib.Path(args.samples).glob("*.log")):
    filter = scanner(log.stem, {})
    for number, text in enumerate(log.read_text().splitlines(), 1):
        if text.startswith("mode: "):
            filter = scanner(log.stem, {"mode": text[len("mode: "):]})
        elif text and not text.startswith("#"):
            failures = filter.processLine(text.split(" | ", 1)[1])
            ids = [str(fid) for _, fid, _, data in failures if fid is not None and not data.get("nofail")]
            print(json.dumps([log.stem, number, ids[0] if ids else None]))
