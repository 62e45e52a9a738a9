#!/usr/bin/env python3
"""What fail2ban's own filter, fail manager and ban manager decide, event by event.

Reads JSON lines: first {"maxretry", "findtime", "bantime", "maxmatches", "ignoreip"}, then events
{"now", "op": "fail" | "attempt" | "ban", "id", "time", "reading": bool}. Prints for each event one
JSON list of what was decided: ["found"], ["ban", id, end], ["already", id], ["prolong", id, end],
["expired", id], ["unban", id].

usage: judge.py [--root DIR] < events > decisions
"""
import argparse, json, logging, sys

ap = argparse.ArgumentParser()
ap.add_argument("--root", default="/usr/lib/python3/dist-packages")
args = ap.parse_args()
sys.path.insert(0, args.root)
logging.disable(50)
from fail2ban.server.banmanager import BanManager
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import IPAddr
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import BanTicket
from fail2ban.tests.dummyjail import DummyJail

rules = json.loads(sys.stdin.readline())
jail = DummyJail("judged")
flt = Filter(jail)
flt.addFailRegex("^<HOST> failed$")
flt.setUseDns("no")
flt.setMaxRetry(rules["maxretry"])
flt.setFindTime(rules["findtime"])
flt.failManager.maxMatches = rules["maxmatches"]
flt.ignoreSelf = False
for ip in rules["ignoreip"]:
    flt.addIgnoreIP(ip)
bans = BanManager()
bans.setBanTime(rules["bantime"])


def end(ticket):
    return "never" if ticket.getBanTime(rules["bantime"]) == -1 else int(ticket.getEndOfBanTime(rules["bantime"]))


def ban(ticket, out):
    reason = {}
    ident = str(ticket.getID())
    if bans.addBanTicket(ticket, reason=reason):
        out.append(["ban", ident, end(ticket), ticket.getAttempt(), len(ticket.getMatches())])
    elif reason.get("expired"):
        out.append(["expired", ident])
    else:
        out.append(["already", ident])
        if reason.get("prolong"):
            out.append(["prolong", ident, end(reason["ticket"])])


for line in sys.stdin:
    event = json.loads(line)
    MyTime.setTime(event["now"])
    flt.failManager.cleanup(event["now"])  # the server does so every five seconds
    out = []
    if event["op"] == "fail":
        flt.inOperation = event["reading"]
        n = flt.failManager.getFailTotal()
        flt.processLineAndAdd(("", "date", event["id"] + " failed"), event["time"])
        if flt.failManager.getFailTotal() > n:
            out.append(["found"])
    elif event["op"] == "attempt":
        flt.addAttempt(event["id"], "x")
    else:
        ban(BanTicket(IPAddr(event["id"]), event["now"]), out)
    while True:
        ticket = jail.getFailTicket()
        if not ticket:
            break
        ban(BanTicket.wrap(ticket), out)
    out += sorted(["unban", str(t.getID())] for t in bans.unBanList(event["now"]))
    print(json.dumps(out))
