//! What a folder of configuration becomes, and what is said of its mistakes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jail::BanTime;
use jail::config::options::Item;
use jail::config::{
    Backend, Configuration, Fault, Files, Jail, Select, WithoutLogs, read, read_filter,
    read_filter_file, read_jail,
};

const ROOT: &str = "/f";

/// Files that exist only here, by path below the root.
struct Folder(BTreeMap<PathBuf, Vec<u8>>);

impl Files for Folder {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }
}

fn folder(files: &[(&str, &str)]) -> Folder {
    let stock = [
        ("filter.d/login.conf", "[Definition]\nfailregex = ^bad <HOST>$\n"),
        ("action.d/block.conf", "[Definition]\nactionban = block <ip> <port>\n[Init]\nport = 22\n"),
    ];
    let all = stock.iter().chain(files);
    let file = |(path, text): &(&str, &str)| (Path::new(ROOT).join(path), text.as_bytes().to_vec());
    Folder(all.map(file).collect())
}

fn configuration(files: &[(&str, &str)]) -> Configuration {
    read(&folder(files), Path::new(ROOT), Select::Enabled)
}

/// The only jail of a sound configuration.
#[track_caller]
fn jail(files: &[(&str, &str)]) -> Jail {
    let mut configuration = configuration(files);
    assert_eq!(told(&configuration.faults), [""; 0]);
    assert_eq!(configuration.jails.len(), 1);
    configuration.jails.remove(0)
}

fn told(faults: &[Fault]) -> Vec<String> {
    let place = |fault: &Fault| match &fault.place {
        Some(place) => format!("{}:{}", place.file.display(), place.line),
        None => "-".to_owned(),
    };
    let tell =
        |it: &Fault| format!("{} {}: {}", place(it), it.jail.as_deref().unwrap_or("-"), it.problem);
    faults.iter().map(tell).collect()
}

/// One jail `a` with these lines, beside a sound jail `b`: what is said, and that `b` starts.
#[track_caller]
fn refused(lines: &str, want: &[&str]) {
    let text = format!(
        "[a]\nenabled = true\nfilter = login\n{lines}\n[b]\nenabled = true\nfilter = login\n"
    );
    let configuration = configuration(&[("jail.conf", &text)]);
    assert_eq!(told(&configuration.faults), want, "{lines}");
    let names: Vec<&str> = configuration.jails.iter().map(|jail| jail.name.as_str()).collect();
    assert_eq!(names, ["b"], "{lines}");
}

#[test]
fn a_jail_says_what_it_does() {
    let jail = jail(&[(
        "jail.conf",
        "[DEFAULT]\nbantime = 1h\nport = 0:65535\naction = block[port=\"%(port)s\"]\n\
         [door]\nenabled = true\nfilter = login\nport = ssh,2222\nfindtime = 1h 30m\nbantime = -1\n\
         maxretry = 3\nmaxmatches = %(maxretry)s\nignoreip = 192.0.2.1, ::1\n 198.51.100.0/24\n\
         logpath = /var/log/a\n /var/log/b*.log tail\nbackend = systemd[journalflags=1]\n\
         journalmatch = _COMM=a _PID=1 + _COMM=b\n",
    )]);
    assert_eq!(jail.filter.failregex, ["^bad <HOST>$"]);
    assert_eq!((jail.max_retry, jail.max_matches), (3, 3));
    assert_eq!((jail.find_time.as_secs(), jail.ban_time), (5400, BanTime::Permanent));
    assert_eq!(jail.ignore_ip, ["192.0.2.1", "::1", "198.51.100.0/24"]);
    assert!(jail.ignore_self);
    assert_eq!((jail.port.as_str(), jail.backend), ("ssh,2222", Backend::Journal));
    let paths = jail.log_paths.iter().map(|it| (it.pattern.as_str(), it.from_end));
    assert_eq!(paths.collect::<Vec<_>>(), [("/var/log/a", false), ("/var/log/b*.log", true)]);
    assert_eq!(jail.journal_match, [vec!["_COMM=a", "_PID=1"], vec!["_COMM=b"]]);
    assert_eq!(jail.actions[0].name, "block");
    assert_eq!(jail.actions[0].options["port"], "ssh,2222");
    assert_eq!(jail.actions[0].options["actionban"], "block <ip> ssh,2222");
    assert_eq!(jail.places["bantime"].line, 10);
}

#[test]
fn what_no_file_says_is_as_in_fail2bans_server() {
    let jail = jail(&[("jail.conf", "[a]\nenabled = yes\nfilter = login\n")]);
    assert_eq!((jail.max_retry, jail.max_matches, jail.find_time.as_secs()), (3, 5, 600));
    assert_eq!((jail.ban_time, jail.log_encoding.as_str()), (BanTime::Seconds(600), "auto"));
    assert!(jail.ignore_self && jail.ignore_ip.is_empty());
}

/// The short way to a jail of one's own: no file in filter.d.
#[test]
fn a_jail_without_a_filter_says_itself_what_it_looks_for() {
    let text = "[a]\nenabled = true\nfailregex = ^bad <HOST>$\n    ^worse <HOST>$\n\
                ignoreregex = ok\ndatepattern = {NONE}\nmaxlines = 2\n";
    let spec = jail(&[("jail.conf", text)]).filter;
    assert_eq!(spec.failregex, ["^bad <HOST>$", "^worse <HOST>$"]);
    assert_eq!((spec.ignoreregex, spec.maxlines), (vec!["ok".to_owned()], Some(2)));
    assert_eq!(spec.datepattern.as_deref(), Some("{NONE}"));
    let wrong = configuration(&[("jail.conf", "[a]\nenabled = true\nmaxlines = none\n")]);
    let [fault] = &told(&wrong.faults)[..] else { panic!("{:?}", wrong.faults) };
    assert!(fault.starts_with("/f/jail.conf:3 a: `maxlines = none`"), "{fault}");
}

#[test]
fn who_is_ignored_may_be_a_commands_answer() {
    let jail = jail(&[(
        "jail.conf",
        "[a]\nenabled = yes\nfilter = login\nignorecommand = %(fail2ban_confpath)s/ask <ip>\n\
         ignorecache = key=\"<F-USER>@<ip>\", max-count=10, max-time=1h\n",
    )]);
    assert_eq!(jail.ignore_command.as_deref(), Some("/f/ask <ip>"));
    let cache = jail.ignore_cache.unwrap();
    assert_eq!((cache.key.as_str(), cache.max_count), ("<F-USER>@<ip>", 10));
    assert_eq!(cache.max_time.as_secs(), 3600);
    refused(
        "ignorecache = max-count=3",
        &[
            "/f/jail.conf:4 a: `ignorecache = max-count=3`: it has no `key`; `key=\"<ip>\"` remembers \
           each address",
        ],
    );
}

#[test]
fn a_jail_without_logs_waits_unless_told_otherwise() {
    let without = |lines: &str| {
        let text = format!("[a]\nenabled = yes\nfilter = login\n{lines}");
        jail(&[("jail.conf", text.as_str())]).without_logs
    };
    assert_eq!(without(""), WithoutLogs::Wait);
    assert_eq!(without("skip_if_nologs = true\n"), WithoutLogs::Skip);
    assert_eq!(without("journalmatch = _COMM=a\nskip_if_nologs = true\n"), WithoutLogs::Journal);
    assert_eq!(without("journalmatch = _COMM=a\nsystemd_if_nologs = no\n"), WithoutLogs::Wait);
    assert_eq!(without("journalmatch = _COMM=a\nbackend = polling\n"), WithoutLogs::Wait);
}

#[test]
fn later_files_go_over_earlier_ones() {
    let files = [
        ("jail.conf", "[INCLUDES]\nbefore = paths.conf\n[a]\nfilter = login\nmaxretry = 1\n"),
        ("paths.conf", "[DEFAULT]\nlog = /conf\nlogpath = %(log)s\nbantime = 7\n"),
        ("paths.local", "[DEFAULT]\nlog = /local\n"),
        ("jail.d/2.conf", "[a]\nmaxretry = 3\n"),
        ("jail.d/1.conf", "[a]\nmaxretry = 2\nfindtime = 60\n"),
        ("jail.local", "[a]\nmaxretry = 4\nfindtime = %(known/findtime)s0\n"),
        ("jail.d/1.local", "[a]\nenabled = true\nmaxretry = 5\n"),
    ];
    let jail = jail(&files);
    assert_eq!(jail.max_retry, 5);
    assert_eq!(jail.find_time.as_secs(), 600); // known: what the file before said
    assert_eq!(jail.log_paths[0].pattern, "/local"); // the included file's own .local
    assert_eq!(jail.places["maxretry"].file, Path::new("/f/jail.d/1.local"));
}

#[test]
fn files_that_include_each_other_come_to_an_end() {
    let files = [
        ("jail.conf", "[INCLUDES]\nbefore = sub/a.conf\n[a]\nenabled = true\nfilter = login\n"),
        ("sub/a.conf", "[INCLUDES]\nbefore = ../jail.conf\n b.conf\n ./a.conf\n[DEFAULT]\nx = 1\n"),
        ("sub/b.conf", "[INCLUDES]\nafter = a.conf\n[DEFAULT]\nmaxretry = 2%(x)s\n"),
    ];
    assert_eq!(jail(&files).max_retry, 21);

    // Each of thirty files includes the next one twice.
    let names: Vec<String> = (0..30).map(|n| format!("{n}.conf")).collect();
    let texts: Vec<String> =
        (1..=30).map(|n| format!("[INCLUDES]\nbefore = {n}.conf\nafter = {n}.conf\n")).collect();
    let chain = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str));
    let jails = "[INCLUDES]\nbefore = 0.conf\n[a]\nenabled = true\nfilter = login\n";
    let files: Vec<(&str, &str)> = chain.chain([("jail.conf", jails)]).collect();
    let configuration = configuration(&files);
    let want = "/f/16.conf:0 -: too many files include each other up to this one; break the circle";
    assert_eq!(told(&configuration.faults), [want]);
}

#[test]
fn values_from_other_sections_and_the_filter() {
    let jail = jail(&[
        (
            "jail.conf",
            "[DEFAULT]\nfilter = %(__name__)s[mode=%(mode)s]\nmaxretry = 9\n[base]\nport = 25\n\
             [mail]\nenabled = true\nmode = hard\nport = %(base/port)s,465\n\
             maxretry = %(default/maxretry)s\nfailregex = %(known/failregex)s\n ^own <HOST>\n",
        ),
        (
            "filter.d/mail.conf",
            "[INCLUDES]\nbefore = common.conf\nafter = absent.conf\n[Definition]\n\
             mdre-soft = ^soft\nmdre-hard = ^hard\n\
             failregex = %(pre)s<mdre-<mode>> <HOST>\nprefregex = <lt_<logtype>>\nmode = soft\n",
        ),
        ("filter.d/common.conf", "[DEFAULT]\npre = ^x\nlt_file = ^file\nlt_journal = ^journal\n"),
    ]);
    assert_eq!(jail.port, "25,465");
    assert_eq!(jail.max_retry, 9);
    assert_eq!(jail.filter.failregex, ["^x^hard <HOST>", "^own <HOST>"]);
    assert_eq!(jail.filter.prefregex.as_deref(), Some("^file"));
}

#[test]
fn an_action_has_options_for_each_family() {
    let jail = jail(&[
        (
            "jail.conf",
            "[a]\nenabled = 1\nfilter = login\naction = fire[type=<kind>, kind=odd]\n fire[name=two]\n",
        ),
        (
            "action.d/fire.conf",
            "[Definition]\nactionban = <tool> -I <chain>-<type>\nactionstart = go <bantime> <matches>\n\
             norestored = yes\n[Init]\ntool = four\nchain = in\ntype = all\n\
             [Init?family=inet6]\ntool = six\n",
        ),
    ]);
    let [one, two] = &jail.actions[..] else { panic!("{:?}", jail.actions) };
    assert_eq!((one.act_name.as_str(), two.act_name.as_str()), ("fire", "fire-two"));
    assert_eq!(one.options["actionban"], "<tool> -I in-odd"); // the tool waits for a family
    assert_eq!(two.options["actionstart"], "go <bantime> <matches>"); // known at the ban only
    assert!(one.is("norestored") && !one.is("actionstart_on_demand"));
    assert_eq!(one.expanded(Some("inet6")).unwrap()["actionban"], "six -I in-odd");
    assert_eq!(one.expanded(Some("inet4")).unwrap()["actionban"], "four -I in-odd");
}

#[test]
fn newer_configuration_is_read_as_newer_fail2ban_reads_it() {
    let jails = "[a]\nenabled = 1\nfilter = login\n\
                 action = fire[tool=mine, client=%(fail2ban_version)s]\n";
    let action = "[Definition]\nactionban = <tool> <client>\n[Init]\ntool = four\n\
                  [Init?family=inet6]\ntool = six\n";
    let ban = |mark| {
        let files =
            [("jail.conf", jails), ("action.d/fire.conf", action), (mark, "[Definition]\n")];
        let options = jail(&files).actions[0].expanded(Some("inet6")).unwrap();
        options["actionban"].clone()
    };
    assert_eq!(ban("filter.d/other.conf"), "six 1.0.2");
    assert_eq!(ban("filter.d/dante.conf"), "six 1.1.0");
    assert_eq!(ban("filter.d/xrdp.conf"), "mine 1.1.1"); // what is given is given for every family
}

#[test]
fn a_comment_behind_a_value_is_named() {
    // The lines of the article, under a jail.
    refused(
        "ignoreip = ::1 # add more IPs here you can trust\n\n# ignorecommand = /path <ip>\n\
         ignorecommand =\n\nbantime  = 12h # 12 hours should be painful enough\n\n\
         findtime  = 360m # the sliding lookup window\n\nmaxretry = 1 # this is far from conservative. I bad hit -> banned.",
        &[
            "/f/jail.conf:4 a: `ignoreip = ::1 # add more IPs here you can trust`: the comment counts \
             as part of the value; put it on a line of its own",
            "/f/jail.conf:9 a: `bantime = 12h # 12 hours should be painful enough`: the comment counts \
             as part of the value; put it on a line of its own",
            "/f/jail.conf:11 a: `findtime = 360m # the sliding lookup window`: the comment counts \
             as part of the value; put it on a line of its own",
            "/f/jail.conf:13 a: `maxretry = 1 # this is far from conservative. I bad…`: the comment counts as part of \
             the value; put it on a line of its own",
        ],
    );
}

#[test]
fn one_bad_jail_is_named_and_the_others_start() {
    refused(
        "maxretry = often",
        &["/f/jail.conf:4 a: `maxretry = often` is no whole number from 0"],
    );
    refused(
        "bantime = 10 parsecs",
        &[
            "/f/jail.conf:4 a: `bantime = 10 parsecs` is no time: `parsecs` is not understood; write \
           seconds, or `1d 12h 30m`",
        ],
    );
    refused(
        "port = 22\naction = block[port=22]\n nothere",
        &["/f/jail.conf:5 a: there is no action `nothere`: /f/action.d/nothere.conf"],
    );
    refused(
        "action = block[port",
        &["/f/jail.conf:4 a: `block[port` is no `name[option=value, …]`; check its brackets and \
           quotes"],
    );
    refused(
        "logpath = %(nowhere)s/log",
        &[
            "/f/jail.conf:4 a: option `logpath`: `%(nowhere)s` is defined nowhere; define `nowhere` in \
           this section or in [DEFAULT]",
        ],
    );
    refused(
        "logpath = /var/log/a /var/log/b",
        &["/f/jail.conf:4 a: `/var/log/a /var/log/b`: behind a path stands `head` or `tail`, not \
           `/var/log/b`; put each path on a line of its own"],
    );
    refused(
        "bantime.increment = true\nbantime.formula = ban.Tme * 2",
        &[
            "/f/jail.conf:5 a: `bantime.formula`: `ban.Tme` is unknown; it may use ban.Time, ban.Count, \
           banFactor and arithmetic",
        ],
    );
    refused(
        "backend = kqueue",
        &[
            "/f/jail.conf:4 a: `backend = kqueue` is none; write auto, pyinotify, polling or systemd",
        ],
    );
    refused(
        "ignoreself = ture",
        &["/f/jail.conf:4 a: `ignoreself = ture` is neither yes nor no; write `true` or `false`"],
    );
    refused(
        "maxretry = 3\nmaxretry = 4",
        &[
            "/f/jail.conf:5 a: option `maxretry` stands twice in this section; remove one of the two",
        ],
    );
    refused(
        "maxlines = 0",
        &["/f/jail.conf:3 a: filter: `maxlines = 0` is no number of lines; write one from 1"],
    );
}

#[test]
fn a_bad_filter_refuses_its_jail_alone() {
    #[track_caller]
    fn check(filter: &str, want: &str) {
        let jails = "[a]\nenabled = true\nfilter = odd\n[b]\nenabled = true\nfilter = login\n";
        let configuration = configuration(&[("jail.conf", jails), ("filter.d/odd.conf", filter)]);
        assert_eq!(configuration.jails.len(), 1);
        assert_eq!(told(&configuration.faults), [format!("/f/filter.d/odd.conf:{want}")]);
    }
    check(
        "[Definition]\nfailregex = <a>\na = <b>\nb = <a>\n",
        "3 a: filter `odd`: `a` uses `<a>`, which leads back to it; break the circle",
    );
    check(
        "[Definition]\nfailregex = 100% <HOST>\n",
        "2 a: filter `odd`: option `failregex`: `%` at `% <HOST>` begins no `%(name)s`; write `%%` for \
         the sign itself",
    );
    check(
        "[Definition]\nfailregex = ^<HOST>\n^unindented\n",
        "3 a: filter `odd`: `^unindented` is neither `[section]` nor `option = value`; indent it if it \
         continues the value above",
    );
}

#[test]
fn a_misspelt_tag_is_named() {
    let jails = "[a]\nenabled = true\nfilter = odd[mode=agressive]\n";
    let filter = "[Definition]\nfailregex = ^<mdre-<mode>> <HOST>$\nmdre-aggressive = x\n";
    let configuration = configuration(&[("jail.conf", jails), ("filter.d/odd.conf", filter)]);
    assert_eq!(configuration.jails.len(), 1);
    let want = "/f/filter.d/odd.conf:2 -: `failregex` of jail `a` holds `<mdre-agressive>`, which \
                nothing defines; did you mean `<mdre-aggressive>`?";
    assert_eq!(told(&configuration.faults), [want]);
}

#[test]
fn a_bad_action_refuses_its_jail_alone() {
    let jails = "[a]\nenabled = true\nfilter = login\naction = odd\n\
                 [b]\nenabled = true\nfilter = login\n";
    let action = "[Definition]\nactionban = <x>\nx = <y>\ny = <x>\n";
    let configuration = configuration(&[("jail.conf", jails), ("action.d/odd.conf", action)]);
    assert_eq!(configuration.jails.len(), 1);
    let want = "/f/action.d/odd.conf:2 a: action `odd`: `actionban` uses `<x>`, which leads back to \
                it; break the circle";
    assert_eq!(told(&configuration.faults), [want]);
}

#[test]
fn what_has_no_effect_is_said_and_harms_nobody() {
    let text = "[DEFAULT]\naction = block[port=\"%(port)s\"]\n\
                [a]\nenabled = true\nfilter = login\nport = 22\nbantme = 5\ncolour = red\n\
                action = smtp.py[host=mail]\n";
    let configuration = configuration(&[("jail.conf", text)]);
    assert_eq!(configuration.jails.len(), 1);
    assert_eq!(
        told(&configuration.faults),
        [
            "/f/jail.conf:7 -: option `bantme` of jail `a` has no effect; did you mean `bantime`?",
            "/f/jail.conf:8 -: option `colour` of jail `a` has no effect; remove it, or use it as \
             `%(…)s`",
            "/f/jail.conf:9 -: action `smtp.py` is written in Python and is not run; name one of \
             action.d/*.conf",
        ]
    );
}

#[test]
fn a_file_that_is_no_text_is_left_out_and_named() {
    let mut folder = folder(&[("jail.conf", "[a]\nenabled = true\nfilter = login\n")]);
    folder.0.insert(PathBuf::from("/f/jail.local"), b"[a]\n# caf\xe9\nmaxretry = 9\n".to_vec());
    let configuration = read(&folder, Path::new(ROOT), Select::Enabled);
    assert_eq!(
        told(&configuration.faults),
        ["/f/jail.local:2 -: the file is not UTF-8, and is left out; save it as UTF-8"]
    );
    assert_eq!(configuration.jails[0].max_retry, 3);
}

#[test]
fn no_folder_is_a_fault() {
    let none = read(&Folder(BTreeMap::new()), Path::new("/none"), Select::Enabled);
    let want = ["/none/jail.conf:0 -: there is no such file; name fail2ban's folder"];
    assert_eq!(told(&none.faults), want);
}

#[test]
fn one_jail_is_read_alone() {
    let text = "[DEFAULT]\naction = block\n[a]\nfilter = login\n action = bl\n\
                [web]\nfilter = login\naction = block[port=80]\n[broken]\nfilter = nothere\n";
    let folder = folder(&[("jail.conf", text)]);
    let root = Path::new(ROOT);
    let web = read_jail(&folder, root, "web").unwrap(); // though it is not enabled
    assert_eq!(web.actions[0].options["port"], "80");
    let told = |name| told(&read_jail(&folder, root, name).unwrap_err());
    assert_eq!(told("wbe"), ["- wbe: /f has no jail `wbe`; did you mean `web`?"]);
    assert_eq!(
        told("broken"),
        ["/f/jail.conf:10 broken: there is no filter `nothere`: /f/filter.d/nothere.conf"]
    );
}

#[test]
fn a_filter_is_read_by_name_or_from_a_file() {
    let filter = "[Definition]\nfailregex = <_<mode>>\n_soft = ^s <HOST>\n_hard = ^h <HOST>\n\
                  mode = soft\n";
    let folder = folder(&[("filter.d/mail.conf", filter), ("elsewhere/mine.conf", filter)]);
    let root = Path::new(ROOT);
    let read = |text| read_filter(&folder, root, Item::parse(text).unwrap(), "auto");
    let regex = |text| read(text).unwrap().spec.failregex;
    assert_eq!(regex("mail"), ["^s <HOST>"]);
    assert_eq!(regex("mail[mode=hard]"), ["^h <HOST>"]);
    let file = Path::new("/f/elsewhere/mine.conf");
    let given = BTreeMap::from([("mode".to_owned(), "hard".to_owned())]);
    let mine = read_filter_file(&folder, file, given, "auto").unwrap();
    assert_eq!(mine.spec.failregex, ["^h <HOST>"]);
    assert_eq!(
        read("male").unwrap_err().problem,
        "there is no filter `male`: /f/filter.d/male.conf"
    );
}
