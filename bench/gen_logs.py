#!/usr/bin/env python3
"""Deterministic log generator for baselines.
 gen_logs.py auth  OUT [--lines N] [--seed S] [--end EPOCH] [--span SECONDS] [--ips K] [--fail F] [--fmt syslog|iso]
 gen_logs.py nginx|nginx-error|mail OUT [--lines N] ...
auth: about F (0.10) sshd failures from K (20000) attacker IPs; rest benign (sshd accepted/disconnect,
CRON, systemd, sudo, postfix, su).  Timestamps rise steadily, ending at --end (default: 2026-11-22 06:00:00 UTC).
nginx: combined access log; about F requests are 404 scans from K IPs.
nginx-error: error log; about F lines are failures of HTTP's basic authentication.
mail: postfix and dovecot by syslog; about F lines are refused recipients and wrong passwords.
"""
import argparse, random, time
ap = argparse.ArgumentParser()
ap.add_argument('kind'); ap.add_argument('out')
ap.add_argument('--lines', type=int, default=1_000_000)
ap.add_argument('--seed', type=int, default=42)
ap.add_argument('--end', type=float, default=1795327200.0)
ap.add_argument('--span', type=float, default=86400.0)
ap.add_argument('--ips', type=int, default=20000)
ap.add_argument('--fail', type=float, default=0.10)
ap.add_argument('--fmt', default='syslog')
a = ap.parse_args()
R = random.Random(a.seed)
def ip4():
    while True:
        o = R.randrange(1, 224)
        if o in (10, 127, 172, 192, 169): continue
        return '%d.%d.%d.%d' % (o, R.randrange(256), R.randrange(256), R.randrange(1, 255))
seen = {}
while len(seen) < a.ips: seen[ip4()] = 1
ATT = list(seen)
# Zipf-like weights: a few IPs attack a lot, the tail a little
CUM = []; s = 0.0
for i in range(len(ATT)):
    s += 1.0 / (i + 1) ** 0.6; CUM.append(s)
def att(): return R.choices(ATT, cum_weights=CUM, k=1)[0]
GOOD = ['10.%d.%d.%d' % (R.randrange(256), R.randrange(256), R.randrange(1, 255)) for _ in range(300)]
USERS = ['root', 'admin', 'test', 'ubuntu', 'oracle', 'postgres', 'git', 'ftpuser', 'user', 'deploy', 'pi', 'nagios', 'hadoop', 'mysql', 'www', 'guest', 'support', 'dev', 'jenkins', 'minecraft']
REAL = ['alice', 'bob', 'carol', 'dave', 'erin', 'deploy', 'backup']
MON = ['Jan','Feb','Mar','Apr','May','Jun','Jul','Aug','Sep','Oct','Nov','Dec']
pid = 1000
def npid():
    global pid
    pid = pid + 1 if pid < 99999 else 1000
    return pid
def port(): return R.randrange(1024, 65535)
def hexs(n): return ''.join(R.choices('0123456789ABCDEF', k=n))
def b64(n): return ''.join(R.choices('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', k=n))
last = (None, None)
def stamp(t):
    global last
    s = int(t)
    if last[0] != s:
        g = time.gmtime(s)
        last = (s, ('%s %2d %02d:%02d:%02d' % (MON[g.tm_mon-1], g.tm_mday, g.tm_hour, g.tm_min, g.tm_sec)) if a.fmt == 'syslog'
                else time.strftime('%Y-%m-%dT%H:%M:%S', g))
    return last[1] if a.fmt == 'syslog' else '%s.%06d+00:00' % (last[1], int((t - s) * 1e6))
def auth_fail():
    ip = att(); p = npid(); r = R.random(); pt = port()
    if r < 0.40:
        u = R.choice(USERS)
        return ['sshd[%d]: Failed password for %s from %s port %d ssh2' % (p, u, ip, pt)]
    if r < 0.70:
        u = R.choice(USERS) + str(R.randrange(100))
        return ['sshd[%d]: Invalid user %s from %s port %d' % (p, u, ip, pt),
                'sshd[%d]: Failed password for invalid user %s from %s port %d ssh2' % (p, u, ip, pt),
                'sshd[%d]: Connection closed by invalid user %s %s port %d [preauth]' % (p, u, ip, pt)]
    if r < 0.80:
        return ['sshd[%d]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=%s  user=root' % (p, ip),
                'sshd[%d]: Failed password for root from %s port %d ssh2' % (p, ip, pt)]
    if r < 0.88:
        return ['sshd[%d]: Connection closed by authenticating user root %s port %d [preauth]' % (p, ip, pt)]
    if r < 0.94:
        return ['sshd[%d]: error: maximum authentication attempts exceeded for root from %s port %d ssh2 [preauth]' % (p, ip, pt),
                'sshd[%d]: Disconnecting authenticating user root %s port %d: Too many authentication failures [preauth]' % (p, ip, pt)]
    return ['sshd[%d]: Unable to negotiate with %s port %d: no matching key exchange method found. Their offer: diffie-hellman-group1-sha1 [preauth]' % (p, ip, pt)]
def auth_benign():
    r = R.random(); p = npid()
    if r < 0.22:
        u = R.choice(REAL); ip = R.choice(GOOD); pt = port()
        return ['sshd[%d]: Accepted publickey for %s from %s port %d ssh2: ED25519 SHA256:%s' % (p, u, ip, pt, b64(43)),
                'sshd[%d]: pam_unix(sshd:session): session opened for user %s(uid=%d) by (uid=0)' % (p, u, 1000 + len(u)),
                'systemd-logind[512]: New session %d of user %s.' % (p, u),
                'sshd[%d]: Received disconnect from %s port %d:11: disconnected by user' % (p, ip, pt),
                'sshd[%d]: Disconnected from user %s %s port %d' % (p, u, ip, pt),
                'sshd[%d]: pam_unix(sshd:session): session closed for user %s' % (p, u)]
    if r < 0.52:
        return ['CRON[%d]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)' % p,
                'CRON[%d]: (root) CMD (   cd / && run-parts --report /etc/cron.hourly)' % p,
                'CRON[%d]: pam_unix(cron:session): session closed for user root' % p]
    if r < 0.64:
        return ['systemd[1]: Started session-%d.scope - Session %d of User alice.' % (p, p)]
    if r < 0.74:
        u = R.choice(REAL)
        return ['sudo:    %s : TTY=pts/0 ; PWD=/home/%s ; USER=root ; COMMAND=/usr/bin/systemctl status nginx' % (u, u),
                'sudo: pam_unix(sudo:session): session opened for user root(uid=0) by %s(uid=1000)' % u,
                'sudo: pam_unix(sudo:session): session closed for user root']
    q = hexs(10)
    return ['postfix/smtpd[%d]: connect from mail-%d.example.net[198.51.100.%d]' % (p, R.randrange(500), R.randrange(256)),
            'postfix/smtpd[%d]: %s: client=mail-%d.example.net[198.51.100.%d]' % (p, q, R.randrange(500), R.randrange(256)),
            'postfix/cleanup[%d]: %s: message-id=<%s@example.net>' % (p, q, b64(16).replace('/', 'x')),
            'postfix/qmgr[800]: %s: from=<a%d@example.net>, size=%d, nrcpt=1 (queue active)' % (q, R.randrange(9999), R.randrange(99999)),
            'postfix/smtp[%d]: %s: to=<b%d@example.org>, relay=mx.example.org[203.0.113.%d]:25, delay=0.%d, dsn=2.0.0, status=sent (250 OK)' % (p, q, R.randrange(9999), R.randrange(256), R.randrange(99)),
            'postfix/smtpd[%d]: disconnect from mail-%d.example.net[198.51.100.%d] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5' % (p, R.randrange(500), R.randrange(256))]
UA = ['Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36', 'curl/8.5.0', 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)']
SCAN = ['/wp-login.php', '/phpmyadmin/index.php', '/.env', '/admin.php', '/cgi-bin/php', '/myadmin/scripts/setup.php', '/xmlrpc.php', '/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php', '/webmail/', '/roundcube/', '/pma/', '/.git/config']
PAGES = ['/', '/index.html', '/static/app.js', '/static/app.css', '/api/v1/items', '/api/v1/users/%d', '/img/%d.png', '/blog/%d', '/search?q=foo%d', '/favicon.ico']
def ntime(t):
    g = time.gmtime(int(t)); return '%02d/%s/%d:%02d:%02d:%02d +0000' % (g.tm_mday, MON[g.tm_mon-1], g.tm_year, g.tm_hour, g.tm_min, g.tm_sec)
def mail_fail():
    ip = att(); p = npid(); u = R.choice(USERS); r = R.random()
    if r < 0.4:
        return 'postfix/smtpd[%d]: NOQUEUE: reject: RCPT from unknown[%s]: 554 5.7.1 <%s@example.org>: Relay access denied; from=<x%d@example.net> to=<%s@example.org> proto=ESMTP helo=<mail.example.net>' % (p, ip, u, R.randrange(999), u)
    if r < 0.6:
        return 'postfix/smtpd[%d]: NOQUEUE: reject: RCPT from unknown[%s]: 550 5.1.1 <%s@example.org>: Recipient address rejected: User unknown in local recipient table; from=<x%d@example.net> to=<%s@example.org> proto=ESMTP helo=<mail.example.net>' % (p, ip, u, R.randrange(999), u)
    return 'dovecot: imap-login: Disconnected (auth failed, %d attempts in %d secs): user=<%s>, method=PLAIN, rip=%s, lip=192.0.2.10, TLS, session=<%s>' % (R.randrange(1, 4), R.randrange(2, 20), u, ip, b64(16))
def mail_benign():
    p = npid(); u = R.choice(REAL); q = hexs(10); r = R.random()
    if r < 0.4:
        return 'dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%s, lip=192.0.2.10, mpid=%d, TLS, session=<%s>' % (u, R.choice(GOOD), p, b64(16))
    if r < 0.6:
        return 'dovecot: imap(%s)<%d><%s>: Disconnected: Logged out in=%d out=%d deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0' % (u, p, b64(16), R.randrange(999), R.randrange(99999))
    if r < 0.8:
        return 'postfix/smtpd[%d]: connect from mail-%d.example.net[198.51.100.%d]' % (p, R.randrange(500), R.randrange(256))
    return 'postfix/smtp[%d]: %s: to=<b%d@example.org>, relay=mx.example.org[203.0.113.%d]:25, delay=0.%d, dsn=2.0.0, status=sent (250 OK)' % (p, q, R.randrange(9999), R.randrange(256), R.randrange(99))
def nginx_error(fails):
    p = npid(); c = R.randrange(1, 999999)
    if fails:
        why = R.choice(('was not found in "/etc/nginx/.htpasswd"', 'password mismatch'))
        sep = ': ' if why == 'password mismatch' else ' '
        return '[error] %d#0: *%d user "%s"%s%s, client: %s, server: www.example.org, request: "GET /private/ HTTP/1.1", host: "www.example.org"' % (p, c, R.choice(USERS), sep, why, att())
    if R.random() < 0.7:
        return '[error] %d#0: *%d open() "/var/www/html/img/%d.png" failed (2: No such file or directory), client: %s, server: www.example.org, request: "GET /img/%d.png HTTP/1.1", host: "www.example.org"' % (p, c, R.randrange(5000), ip4(), R.randrange(5000))
    return '[warn] %d#0: *%d a client request body is buffered to a temporary file /var/lib/nginx/body/%010d, client: %s, server: www.example.org, request: "POST /upload HTTP/1.1", host: "www.example.org"' % (p, c, R.randrange(99999), ip4())
n = 0
with open(a.out, 'w') as f:
    start = a.end - a.span
    if a.kind == 'auth':
        # choose event kinds so that failure LINES are about a.fail of lines: mean lines per event
        mf = 0.40*1 + 0.30*3 + 0.10*2 + 0.08 + 0.06*2 + 0.06
        mb = 0.22*6 + 0.30*3 + 0.12 + 0.10*3 + 0.26*6
        pf = a.fail / mf / (a.fail / mf + (1 - a.fail) / mb)
        while n < a.lines:
            t = start + a.span * n / a.lines
            for l in (auth_fail() if R.random() < pf else auth_benign()):
                if n >= a.lines: break
                f.write('%s srv1 %s\n' % (stamp(t), l)); n += 1
    elif a.kind == 'nginx':
        while n < a.lines:
            t = start + a.span * n / a.lines
            if R.random() < a.fail:
                f.write('%s - - [%s] "GET %s HTTP/1.1" 404 %d "-" "%s"\n' % (att(), ntime(t), R.choice(SCAN), R.randrange(100, 900), R.choice(UA)))
            else:
                pg = R.choice(PAGES)
                if '%d' in pg: pg = pg % R.randrange(5000)
                f.write('%s - - [%s] "GET %s HTTP/1.1" %d %d "https://www.example.org/" "%s"\n' % (ip4(), ntime(t), pg, R.choice((200, 200, 200, 200, 304, 301)), R.randrange(100, 90000), R.choice(UA)))
            n += 1
    elif a.kind == 'mail':
        while n < a.lines:
            t = start + a.span * n / a.lines
            f.write('%s srv1 %s\n' % (stamp(t), mail_fail() if R.random() < a.fail else mail_benign())); n += 1
    elif a.kind == 'nginx-error':
        while n < a.lines:
            g = time.gmtime(int(start + a.span * n / a.lines))
            f.write('%s %s\n' % (time.strftime('%Y/%m/%d %H:%M:%S', g), nginx_error(R.random() < a.fail))); n += 1
    else:
        ap.error('unknown kind %r' % a.kind)
