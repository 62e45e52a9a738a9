#!/usr/bin/env python3
"""What the commands of actions come to: fail2ban's server and ours, each with a jail for each action and the same log,
must run the same programs with the same arguments and input.

The actions are Debian's own, of /etc/fail2ban/action.d, and two of this script; in place of the programs that they run
are some that only write down how they were called. Needs root, for namespaces.

usage: actions.py PROGRAM [ACTION…]     without actions: all of them that are no parts of others, which takes a minute
"""
import collections, glob, os, re, shutil, signal, subprocess, sys, tempfile, time

program, actions = sys.argv[1], sys.argv[2:]
PROGRAMS = """apf apprise curl dig firewall-cmd geoiplookup geoiplookup6 host ip ip6tables ipf ipfw ipset iptables mail npfctl
nsupdate perl pfctl route sendmail service shorewall ufw wget whois""".split()
# Parts of others, files of their own at fixed places, and one that asks the network by other means.
LEFT_OUT = """dummy firewallcmd-common helpers-common iptables mail-whois-common nftables nftables-allports nftables-multiport
sendmail-common bsd-ipfw iptables-xt_recent-echo symbiosis-blacklist-allports xarf-login-attack""".split()
OWN = {
    "tags": "actionstart = curl start <name> <actname>\nactionban = curl <ip> <family> <failures> <ipfailures>"
            " <ipjailfailures> <bantime> <bancount> <restored> <ip-rev> <ip-host> <fid> <F-USER> <F-NONE> <name> <actname>"
            " <br> curl matches \"<matches>\" '<ipmatches>' <ipjailmatches> <sp> <jail.banned> <jail.found>\n"
            "actionunban = curl unban <ip> <F-USER>\nactionflush =\nactionstop = curl stop <name>\n",
    "fails": "actionstart = curl start\nactionban = curl ban <ip>; false\nactionunban = curl unban <ip>\nactionstop = curl stop\n",
    "repairs": "actionstart = curl start\nactioncheck = curl check; test -e <file>\nactionrepair = curl repair; touch <file>\n"
               "actionban = curl ban <ip>; test -e <file>\nactionunban = curl unban <ip>\nactionstop = curl stop; rm -f <file>\n",
}
STANDIN = """#!/bin/sh
[ "${0##*/}" = sendmail ] || [ "${0##*/}" = mail ] && input=$(cat)
{ printf '%s\\037' "${0##*/}" "$@" "$input"; printf '\\036'; } >>"$CALLS/$$"
[ "${0##*/}" = perl ] && exec /usr/bin/perl "$@"
exit 0
"""
LINES = ("fail from {0} user bob;`id`$(x)\"' end", "fail from {0} user al%s&|ice\\ <x> \u00e9")

def addresses(n):
    return "192.0.2.%d" % (n + 1), "2001:db8::%x" % (n + 1)

class Host:
    """A folder with a configuration, a log and stand-ins."""
    def __init__(self, folder):
        self.folder = folder
        for name in ("bin", "sbin", "calls", "work"): os.makedirs(self.at(name))
        for name in ("filter.d", "action.d"): shutil.copytree("/etc/fail2ban/" + name, self.at("config/" + name))
        for name in PROGRAMS: self.write("sbin/sendmail" if name == "sendmail" else "bin/" + name, STANDIN, 0o755)
        for name, text in OWN.items(): self.write("config/action.d/%s.conf" % name, "[Definition]\n" + text)
        self.write("config/filter.d/plain.conf",
                   "[Definition]\nfailregex = ^ fail from <ADDR> user <F-USER>\\S*</F-USER>(?: .*)?$\n")
        self.write("config/fail2ban.conf", "[Definition]\nloglevel = INFO\nlogtarget = {0}/log\nsyslogsocket = auto\n"
                   "socket = {0}/socket\npidfile = {0}/pid\ndbfile = {0}/db\ndbpurgeage = 1d\ndbmaxmatches = 10\n".format(folder))
        self.write("config.toml", "[guard]\nnative = false\n")
        jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfindtime = 1h\nbantime = 1h\nusedns = no\nignoreself = no\nfilter = plain\n"
        for n, action in enumerate(actions):
            work = self.at("work/%d" % n)
            options = dict(
                name="j%d" % n, file=work, tmpfile=work, blck_lst_file=work, srv_cfg_path=self.at("work/"), port="ssh",
                protocol="tcp", logpath=self.at("log%d" % n), dest="root@example.org", sender="guard@example.org", lines=2,
                abuseipdb_apikey="key", email="guard@example.org", service="ssh", apikey="key", mynetwatchmantmpfile=work)
            options = ", ".join('%s="%s"' % it for it in options.items())
            jails += "[j%d]\nenabled = true\nlogpath = %s/log%d\naction = %s[%s]\n" % (n, folder, n, action, options)
            self.write("log%d" % n, "")
        self.write("config/jail.conf", jails)
    def at(self, name):
        return os.path.join(self.folder, name)
    def write(self, name, text, mode=0o644):
        with open(self.at(name), "w") as f: f.write(text)
        os.chmod(self.at(name), mode)
    def start(self, command):
        env = dict(os.environ, PATH=self.at("bin:") + os.environ["PATH"], CALLS=self.at("calls"), LC_ALL="C.UTF-8",
                   FAIL2MISP_CONFIG=self.at("config.toml"), FAIL2MISP_STATE=self.at("state"),
                   FAIL2MISP_RUNTIME=self.at("run"), FAIL2MISP_FAIL2BAN_DIR=self.at("config"))
        script = 'mount -t overlay overlay -o lowerdir="$1":/usr/sbin /usr/sbin && shift && exec "$@"'
        inside = ["unshare", "-n", "-m", "sh", "-c", script, "sh", self.at("sbin")]
        self.process = subprocess.Popen(inside + command, env=env, stdout=open(self.at("said"), "w"), stderr=subprocess.STDOUT)
    def wait(self, word, n):
        end = time.monotonic() + 120
        while not os.path.exists(self.at("log")) or open(self.at("log"), errors="replace").read().count(word) < n:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("%s: not %d times %r\n%s" % (self.folder, n, word, open(self.at("said")).read()))
            time.sleep(0.05)
    def attack(self, now):
        for n in range(len(actions)):
            with open(self.at("log%d" % n), "a") as log:
                for address in addresses(n):
                    log.writelines("%s %s\n" % (now, it.format(address)) for it in LINES)
    def calls(self):
        """The calls of programs, and how often they were made."""
        calls = collections.Counter()
        for path in glob.glob(self.at("calls/*")):
            for call in open(path, errors="replace").read().split("\x1e")[:-1]:
                call = call.replace(self.folder, "FOLDER").replace("\x1f", " | ")
                # They are made at about the same time.
                calls[re.sub(r"Date: .*|\b1[789]\d{8}(\.\d+)?\b|\d\d:\d\d:\d\d", "TIME", call)] += 1
        return calls

if not actions:
    names = sorted(os.path.basename(it)[:-5] for it in glob.glob("/etc/fail2ban/action.d/*.conf"))
    actions = [it for it in names if it not in LEFT_OUT] + list(OWN)
with tempfile.TemporaryDirectory() as folder:
    theirs, ours = Host(folder + "/theirs"), Host(folder + "/ours")
    theirs.start(["/usr/bin/fail2ban-server", "-f", "-x", "-c", theirs.at("config"), "start"])
    ours.start([program, "run", "--only", "guard"])
    for host in (theirs, ours): host.wait("' started", len(actions))
    now = time.strftime("%b %d %H:%M:%S")
    for host in (theirs, ours): host.attack(now)
    for host in (theirs, ours): host.wait("] Ban ", 2 * len(actions))
    for host in (theirs, ours):
        host.process.send_signal(signal.SIGTERM)
        host.process.wait()
    wanted, got = theirs.calls(), ours.calls()
    for who, calls in (("fail2ban", wanted - got), ("ours", got - wanted)):
        for call, times in calls.items():
            print("only %s, %d times: %s" % (who, times, call))
    print(len(actions), "actions,", sum(wanted.values()), "calls")
    sys.exit(wanted != got)
