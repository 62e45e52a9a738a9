#!/usr/bin/env python3
"""What fail2ban itself answers on its own sample logs: one JSON object per (filter, options) and per line.

Runs fail2ban's sample tests (Debian's package `fail2ban` carries them) with fail2ban's own code and records every
call of Filter.processLine. Each object: filter, opts (the filter options of that run), line, journal (true: the
line came with a date of its own), result (a list: index of the failregex, fid, time in epoch seconds, data).
Before the first call with a filter and its options comes an object that tells what they are once the configuration
is read: spec (its number, which its calls repeat), prefregex, failregex, ignoreregex, maxlines, datepattern.
An empty result, one with fid null, or one whose data has nofail, is "no failure".
The clock is fixed at 1124013600 and the time zone at CET-01CEST-02,M3.5.0,M10.5.0, as in those tests.

usage: samples.py [--root DIR] > samples.jsonl     DIR holds fail2ban/ (default: Debian's /usr/lib/python3/dist-packages)
"""
import argparse, json, os, sys, unittest

ap = argparse.ArgumentParser()
ap.add_argument("--root", default="/usr/lib/python3/dist-packages")
root = ap.parse_args().root
sys.path.insert(0, root)
os.chdir(root)
out, sys.stdout = sys.stdout, sys.stderr
from fail2ban.tests import utils
opts = utils.getOptParser().parse_args(["-n", "-f"])[0]
opts = utils.initProcess(opts)
utils.initTests(opts)
from fail2ban.client.filterreader import FilterReader
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.tests import samplestestcase as samples

def plain(v):
    if isinstance(v, IPAddr): return str(v)
    if isinstance(v, (set, frozenset)): return sorted(map(str, v))
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    return v

names, keep = {}, []
read_filter = samples.FilterSamplesRegex._readFilter
def _readFilter(self, filter_name, name, basedir, opts=None):
    r = read_filter(self, filter_name, name, basedir, opts)
    if id(r[0]) not in names:
        names[id(r[0])] = (len(names), name, opts or {})
        keep.append(r[0])  # or its id would be given to another
        print(json.dumps(spec(len(names) - 1, name, basedir, opts)), file=out)
    return r
def spec(number, name, basedir, opts):
    reader = FilterReader(name, "jail", dict(opts or {}), basedir=basedir, share_config=unittest.F2B.share_config)
    reader.read()
    reader.getOptions({})
    found = {"spec": number, "failregex": [], "ignoreregex": []}
    for command in reader.convert():
        values = command[3] if command[0] == "multi-set" else [command[3]]
        option = command[2]
        if option in ("addfailregex", "addignoreregex"): found[option[3:]] += values
        elif option in ("prefregex", "maxlines", "datepattern"): found[option] = values[-1]
    return found
samples.FilterSamplesRegex._readFilter = _readFilter

process_line = Filter.processLine
def processLine(self, line, date=None):
    found = process_line(self, line, date)
    number, name, options = names.get(id(self), (-1, "?", {}))
    print(json.dumps({
        "spec": number, "filter": name, "opts": options, "line": line if date is None else line[2], "journal": date is not None,
        "result": [{"regex": i, "fid": plain(f), "time": t, "data": {k: plain(v) for k, v in d.items() if v is not None}}
                   for i, f, t, d in found]}), file=out)
    return found
Filter.processLine = processLine

suite = unittest.TestSuite(
    t for t in unittest.defaultTestLoader.loadTestsFromTestCase(samples.FilterSamplesRegex)
    if "ZZZ" not in t.id())  # filters of the test suite alone, which Debian ships without the files they include
result = unittest.TextTestRunner(verbosity=0, stream=sys.stderr).run(suite)
sys.exit(not result.wasSuccessful())
