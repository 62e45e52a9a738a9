#!/usr/bin/env python3
"""Runs the tests that fail2ban has for its server's answers on our daemon, over its socket.

Their code is Debian's installed package's, read as it runs; FAIL2BAN_ROOT names another one. What a test does to the
server itself is done to our configuration, and what it looks for in fail2ban's log is looked for in ours.

usage: transmitter.py SOCKET CONFIG LOG     the socket where fail2ban's protocol is spoken, the folder of jail.conf, the log
"""
import os, sys, time, unittest

sys.path.insert(0, os.environ.get("FAIL2BAN_ROOT", "/usr/lib/python3/dist-packages"))
from fail2ban.tests import utils
utils.initTests(utils.initProcess(utils.getOptParser().parse_args(["-n", "-l", "CRITICAL"])[0]))
from fail2ban.client.csocket import CSocket
from fail2ban.tests import servertestcase

SOCKET, CONFIG, LOG = sys.argv[1:]
JAIL = "[%s]\nenabled = true\nfilter = empty\nbackend = %s\nlogpath = /nonexistent\n"

# What we answer otherwise, and why.
DIFFERENT = {
    "testAddJail": "jails come from the configuration alone",
    "testDatabase": "where guard.db is, and what it keeps, is said at the start",
    "testFlushLogs": "it writes to the log from fail2ban's own process",
    "testJailAttemptIP": "it waits for what fail2ban's log says at level 7",
    "testJailBanList": "it wants the clock of the tests",
    "testJailBanTime": "a negative time is -1: for ever",
    "testJailIgnoreRegex": "expressions are shown as they are written",
    "testJailMaxMatches": "a negative number is refused",
    "testJailMaxRetry": "a negative number is refused",
    "testJailRegex": "expressions are shown as they are written",
    "testPythonActionMethodsAndProperties": "no Python is run",
    "testSetIPv6": "IPv6 is never switched off",
    "testSleep": "nobody needs us to wait",
    "testSyslogSocket": "syslog is where it is on every Linux",
    "testSyslogSocketNOK": "as above",
}
# It ends the server, and the other tests with it.
del servertestcase.Transmitter.testStopServer

class Refused(OSError, ValueError):
    """What the server answers in place of an exception of its own."""

class Transmitter:
    def proceed(self, words):
        channel = CSocket(SOCKET)
        try:
            code, value = channel.send([w if isinstance(w, (str, int, float)) else str(w) for w in words])
        finally:
            channel.close()
        return (code, Refused(value)) if code else (code, value)

class Server:
    def __init__(self):
        self._Server__transm = Transmitter()
        self.jails = {}
        self.setLogLevel("DEBUG")
        self.write("reload --restart --unban")
    def ask(self, *words):
        return self._Server__transm.proceed(list(words))
    def write(self, how):
        jails = self.jails or {"placeholder": "polling"}
        with open(os.path.join(CONFIG, "jail.conf"), "w") as f:
            f.write("".join(JAIL % it for it in jails.items()))
        code, value = self.ask(*how.split())
        if code: raise value
    def addJail(self, name, backend):
        self.jails[name] = "systemd" if backend.startswith("systemd") else "polling"
        self.write("reload")
    def delJail(self, name, **_):
        self.ask("stop", name)
        self.jails.pop(name)
    def startJail(self, name):
        self.ask("start", name)
    def isStarted(self):
        return False
    def isAlive(self, n=None):
        return len(self._Server__jails) == n
    def quit(self):
        self.jails = {}
    @property
    def _Server__jails(self):
        return [it for it in self.ask("status")[1][1][1].split(", ") if it]
    def setLogTarget(self, it): self.ask("set", "logtarget", it)
    def setLogLevel(self, it): self.ask("set", "loglevel", it)
    def setSyslogSocket(self, it): self.ask("set", "syslogsocket", it)
    def getSyslogSocket(self): return self.ask("get", "syslogsocket")[1]

every = all

class OnOurs:
    """What of a test looks at the server beside asking it."""
    TEST_SRV_CLASS = Server
    def setUp(self):
        self.pruneLog()
        super().setUp()
        self.pruneLog()
    def pruneLog(self, *_):
        self.begin = os.path.getsize(LOG)
    def said(self):
        with open(LOG, errors="replace") as f:
            f.seek(self.begin)
            return f.read()
    def assertLogged(self, *words, all=False, **_):
        enough = every if all else any
        end = time.monotonic() + 3
        while not enough(w in self.said() for w in words):
            self.assertLess(time.monotonic(), end, "%r is not in the log: %s" % (words, self.said()))
            time.sleep(0.01)
    def assertNotLogged(self, *words, **_):
        self.assertFalse(any(w in self.said() for w in words))

class Commands(OnOurs, servertestcase.Transmitter): pass
class Logging(OnOurs, servertestcase.TransmitterLogging): pass

suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(it) for it in (Commands, Logging))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
failed = {test.id().split(".")[-1] for test, _ in result.failures + result.errors}
print("ran", result.testsRun)
print("differs and should not:", *sorted(failed - DIFFERENT.keys()))
print("differs no more:", *sorted(DIFFERENT.keys() - failed))
sys.exit(failed != DIFFERENT.keys())
