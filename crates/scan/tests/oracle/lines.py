#!/usr/bin/env python3
"""What fail2ban's filter answers on given lines.

Reads one JSON object per line: a filter (prefregex, failregex, ignoreregex, maxlines, datepattern, logtimezone,
usedns), how to run it (zone: TZ, now: epoch seconds, raw, every: try all expressions) and lines. Prints for each
object a list with one answer per line: a list of failures (regex, fid, time, data), or a text where fail2ban itself
stumbles; or a text instead of the list where it refuses the filter.

usage: lines.py [--root DIR] < cases.jsonl      DIR holds fail2ban/ (default: Debian's /usr/lib/python3/dist-packages)
"""
import argparse, json, logging, os, signal, sys, time, warnings

ap = argparse.ArgumentParser()
ap.add_argument("--root", default="/usr/lib/python3/dist-packages")
sys.path.insert(0, ap.parse_args().root)
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
from fail2ban.server.datedetector import DD_patternCache, DateDetector
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.mytime import MyTime

def plain(v):
    if isinstance(v, IPAddr): return str(v)
    if isinstance(v, (set, frozenset)): return sorted(map(str, v))
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list): return [plain(x) for x in v]
    if isinstance(v, tuple): return str(v) if not v or not isinstance(v[0], str) or len(v) != 3 else list(v)
    return v

def forget_dates():
    """The templates of all filters of a process share their hits: each case is to begin afresh."""
    for template in DateDetector._defCache.templates: template.hits = 0
    for template, _ in list(DD_patternCache._cache.values()): template.hits = 0

def new_filter(case):
    forget_dates()
    f = Filter(None, useDns=case.get("usedns") or "warn")
    f.returnRawHost = case.get("raw", False)
    f.checkAllRegex = case.get("every", False)
    f.checkFindTime = False
    if case.get("logtimezone"): f.setLogTimeZone(case["logtimezone"])
    if case.get("datepattern"): f.setDatePattern(case["datepattern"])
    if case.get("prefregex"): f.prefRegex = case["prefregex"]
    if case.get("maxlines") is not None: f.setMaxLines(case["maxlines"])
    for regex in case["failregex"]: f.addFailRegex(regex)
    for regex in case.get("ignoreregex", []): f.addIgnoreRegex(regex)
    return f

def give_up(*_):
    raise TimeoutError("the expressions of fail2ban take for ever")
signal.signal(signal.SIGALRM, give_up)

def answer(f, line):
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        found = f.processLine(line)
    except Exception as e:
        return "%s: %s" % (type(e).__name__, e)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return [{"regex": i, "fid": plain(fid), "time": t,
             "data": {k: plain(v) for k, v in data.items() if v is not None}} for i, fid, t, data in found]

for text in sys.stdin:
    case = json.loads(text)
    os.environ["TZ"] = case["zone"]
    time.tzset()
    MyTime.setTime(case["now"])
    try:
        f = new_filter(case)
    except Exception as e:
        print(json.dumps("%s: %s" % (type(e).__name__, e)))
        continue
    print(json.dumps([answer(f, line) for line in case["lines"]]))
