//! Every line once, in order, through every way of rotating a log: on real files.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard::follow::{Follower, News, Source, Stop};
use guard::mark::Mark;
use jail::judge::Reading;
use tempfile::TempDir;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a follower told, as a word each.
#[derive(Debug)]
enum Heard {
    Line(String, Reading),
    Told(String),
    Mark(Mark),
}

struct Following {
    folder: TempDir,
    stop: Stop,
    heard: Receiver<Heard>,
    thread: Option<JoinHandle<()>>,
    mark: Option<Mark>,
}

impl Following {
    /// Follows `pattern` in a folder of its own, which `prepare` fills first.
    fn new(pattern: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        Self::again(folder, pattern, None)
    }

    fn again(folder: TempDir, pattern: &str, mark: Option<Mark>) -> Self {
        let pattern = format!("{}/{pattern}", folder.path().display());
        let source = Source { pattern, from_end: false, polled: false };
        Self::of(folder, source, mark, || {})
    }

    /// Follows `source`; each word waits for `may_tell`.
    fn of(
        folder: TempDir,
        source: Source,
        mark: Option<Mark>,
        may_tell: impl Fn() + Send + 'static,
    ) -> Self {
        let mut follower = Follower::new(vec![source], mark.into_iter().collect());
        let stop = Stop::new().unwrap();
        let (tell, heard) = channel();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            follower
                .run(&until, &mut |news| {
                    may_tell();
                    for word in words(news) {
                        if tell.send(word).is_err() {
                            return ControlFlow::Break(());
                        }
                    }
                    ControlFlow::Continue(())
                })
                .unwrap();
        });
        Self { folder, stop, heard, thread: Some(thread), mark: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Waits for these lines, in this order, and no others.
    #[track_caller]
    fn reads(&mut self, lines: &[&str]) {
        for want in lines {
            assert_eq!(self.next_line().0, *want);
        }
    }

    #[track_caller]
    fn next_line(&mut self) -> (String, Reading) {
        loop {
            match self.heard.recv_timeout(PATIENCE).expect("a line comes") {
                Heard::Line(line, reading) => return (line, reading),
                Heard::Mark(mark) => self.mark = Some(mark),
                Heard::Told(_) => {}
            }
        }
    }

    #[track_caller]
    fn is_told(&mut self, want: &str) {
        loop {
            match self.heard.recv_timeout(PATIENCE).expect("a word comes") {
                Heard::Told(told) => return assert_eq!(told, want),
                Heard::Mark(mark) => self.mark = Some(mark),
                Heard::Line(line, _) => panic!("{line}"),
            }
        }
    }

    /// Ends, and returns the folder with the last mark.
    fn end(mut self) -> (TempDir, Option<Mark>) {
        self.stop.call();
        self.thread.take().unwrap().join().unwrap();
        for heard in self.heard.try_iter() {
            match heard {
                Heard::Line(line, _) => panic!("{line} came as well"),
                Heard::Mark(mark) => self.mark = Some(mark),
                Heard::Told(_) => {}
            }
        }
        (self.folder, self.mark)
    }
}

fn words(news: News<'_>) -> Vec<Heard> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    match news {
        News::Lines { whole, reading, mark, .. } => {
            let text = String::from_utf8_lossy(whole).into_owned();
            let lines = text.lines().map(|line| Heard::Line(line.to_owned(), reading));
            lines.chain(mark.map(Heard::Mark)).collect()
        }
        News::Followed { path, .. } => vec![Heard::Told(format!("follows {}", name(path)))],
        News::Opened { .. } | News::Past { .. } => Vec::new(),
        News::Awaited { source, .. } => vec![Heard::Told(format!("awaits {source}"))],
        News::Trouble { path, why, .. } => vec![Heard::Told(format!("{}: {why}", name(path)))],
        News::Rotated { path, how } => vec![Heard::Told(format!("{}: {how}", name(path)))],
        News::Note(note) => vec![Heard::Told(note.to_owned())],
    }
}

fn append(path: &Path, text: &str) {
    open(path).write_all(text.as_bytes()).unwrap();
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

#[test]
fn reads_what_is_there_and_what_comes() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\ntwo\n"));
    assert_eq!(log.next_line(), ("one".into(), Reading::CatchingUp));
    assert_eq!(log.next_line(), ("two".into(), Reading::CatchingUp));
    log.write("log", "thr");
    log.write("log", "ee\n");
    assert_eq!(log.next_line(), ("three".into(), Reading::InOperation));
    log.end();
}

#[test]
fn an_empty_log_is_not_in_operation_yet() {
    let mut log = Following::new("log", |it| append(&it.join("log"), ""));
    log.is_told("follows log");
    let began = Instant::now();
    log.write("log", "old\n");
    assert_eq!(log.next_line(), ("old".into(), Reading::CatchingUp));
    // Whoever copies a log there writes a part at a time, and pauses for no second.
    log.write("log", "as old\n");
    let (line, reading) = log.next_line();
    assert_eq!(line, "as old");
    assert!(reading == Reading::Filling || began.elapsed() > Duration::from_secs(1));
    log.end();
}

#[test]
fn renamed_with_late_lines() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    let mut writer = open(&log.path("log"));
    log.rename("log", "log.1");
    writer.write_all(b"late\n").unwrap(); // nobody has told the daemon yet
    log.reads(&["late"]);
    log.write("log", "new\n");
    log.reads(&["new"]);
    writer.write_all(b"later\n").unwrap(); // it goes on with the old file
    log.reads(&["later"]);
    log.write("log", "newer\n");
    log.reads(&["newer"]);
    log.end();
}

#[test]
fn what_was_written_before_the_rename_comes_before_the_new_file() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    for n in 0..20 {
        log.write("log", &format!("last of {n}\n"));
        log.rename("log", &format!("log.{n}"));
        log.write("log", &format!("first of {}\n", n + 1));
        log.reads(&[&format!("last of {n}"), &format!("first of {}", n + 1)]);
    }
    log.end();
}

#[test]
fn copied_and_truncated() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one, which is long\n"));
    log.reads(&["one, which is long"]);
    fs::copy(log.path("log"), log.path("log.1")).unwrap();
    File::options().write(true).open(log.path("log")).unwrap().set_len(0).unwrap();
    log.write("log", "two\n");
    log.reads(&["two"]);
    log.end();
}

#[test]
fn what_was_written_before_a_copy_is_truncated_is_read_in_the_copy() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    let rotate = |folder: &Path, n: u32| {
        fs::copy(folder.join("log"), folder.join(format!("log.{n}"))).unwrap();
        File::options().write(true).open(folder.join("log")).unwrap().set_len(0).unwrap();
    };
    // While nobody reads.
    let (folder, mark) = log.end();
    append(&folder.path().join("log"), "two\n");
    rotate(folder.path(), 2);
    append(&folder.path().join("log"), "three\n");
    rotate(folder.path(), 1);
    append(&folder.path().join("log"), "four\n");
    // Faster than anybody reads.
    let gate = Arc::new(Mutex::new(()));
    let (held, pattern) = (Arc::clone(&gate), folder.path().join("log").display().to_string());
    let source = Source { pattern, from_end: false, polled: false };
    let mut log = Following::of(folder, source, mark, move || drop(held.lock().unwrap()));
    log.reads(&["two", "three", "four"]);
    let closed = gate.lock().unwrap();
    log.write("log", "five\n");
    log.write("log", "six\n");
    rotate(log.folder.path(), 0);
    log.write("log", "seven\n");
    drop(closed);
    log.reads(&["five", "six", "seven"]);
    log.end();
}

#[test]
fn truncated_and_grown_again_past_the_old_end() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    // In one step, as the follower sees it: the file is as long as before, and longer.
    log.stop.call();
    log.thread.take().unwrap().join().unwrap();
    let mark = match log.heard.try_iter().last() {
        Some(Heard::Mark(mark)) => mark,
        other => panic!("{other:?}"),
    };
    fs::write(log.path("log"), "two\nthree\nfour\n").unwrap();
    let mut log = Following::again(log.folder, "log", Some(mark));
    log.reads(&["two", "three", "four"]);
    log.end();
}

#[test]
fn missing_deleted_and_made_again() {
    let mut log = Following::new("later/log", |_| {});
    log.is_told("awaits 0");
    fs::create_dir(log.path("later")).unwrap();
    log.write("later/log", "one\n");
    log.is_told("follows log");
    log.reads(&["one"]);
    for n in 0..5 {
        fs::remove_file(log.path("later/log")).unwrap();
        log.write("later/log", &format!("life {n}\n"));
        log.reads(&[&format!("life {n}")]);
    }
    fs::remove_dir_all(log.path("later")).unwrap();
    fs::create_dir(log.path("later")).unwrap();
    log.write("later/log", "again\n");
    log.reads(&["again"]);
    log.end();
}

#[test]
fn a_pattern_matches_later() {
    let mut log = Following::new("*/access.log", |it| fs::create_dir(it.join("a")).unwrap());
    log.is_told("awaits 0");
    log.write("a/access.log", "a\n");
    log.reads(&["a"]);
    fs::create_dir(log.path("b")).unwrap();
    log.write("b/access.log", "b\n");
    log.reads(&["b"]);
    log.write("a/access.log", "a again\n");
    log.reads(&["a again"]);
    log.end();
}

#[test]
fn through_a_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("real.log");
    append(&target, "one\n");
    let mut log = Following::new("log", |it| {
        std::os::unix::fs::symlink(&target, it.join("log")).unwrap();
    });
    log.reads(&["one"]);
    append(&target, "two\n");
    log.reads(&["two"]);
    log.end();
}

#[test]
fn links_that_lead_elsewhere_by_and_by() {
    // As a container's log: a link to a link, and nothing where they lead when it begins.
    let mut log = Following::new("containers/*.log", |it| {
        fs::create_dir(it.join("containers")).unwrap();
        symlink("../pods/first", &it.join("containers/web.log"));
    });
    log.is_told("awaits 0");
    fs::create_dir(log.path("pods")).unwrap();
    symlink("../files/first", &log.path("pods/first"));
    fs::create_dir(log.path("files")).unwrap();
    log.write("files/first", "one\n");
    log.reads(&["one"]);
    log.write("files/first", "two\n");
    log.reads(&["two"]);
    fs::create_dir(log.path("others")).unwrap();
    log.write("others/second", "three\n");
    symlink("../others/second", &log.path("pods/first"));
    log.reads(&["three"]);
    log.write("others/second", "four\n");
    log.reads(&["four"]);
    log.write("files/third", "");
    symlink("../files/third", &log.path("pods/first"));
    log.write("others/second", "five, late\n");
    log.reads(&["five, late"]);
    log.write("files/third", "six\n");
    log.reads(&["six"]);
    log.end();
}

#[test]
fn a_folder_that_is_another_one_by_and_by() {
    let mut log = Following::new("current/logs/log", |it| {
        fs::create_dir_all(it.join("release-1/logs")).unwrap();
        append(&it.join("release-1/logs/log"), "one\n");
        symlink("release-1", &it.join("current"));
    });
    log.reads(&["one"]);
    fs::create_dir_all(log.path("release-2/logs")).unwrap();
    log.write("release-2/logs/log", "two\n");
    symlink("release-2", &log.path("current"));
    log.reads(&["two"]);
    log.write("release-2/logs/log", "three\n");
    log.reads(&["three"]);
    log.end();
}

/// Makes a link, or turns one, in one step.
fn symlink(target: &str, link: &Path) {
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_file_of_several_names_is_read_once() {
    let mut log = Following::new("*.log", |it| {
        append(&it.join("web.log"), "one\n");
        symlink("web.log", &it.join("current.log"));
        symlink("web.log", &it.join("which.log"));
    });
    log.reads(&["one"]);
    log.write("web.log", "two\n");
    log.reads(&["two"]);
    for n in 0..3 {
        let late = File::options().append(true).open(log.path("web.log")).unwrap();
        log.rename("web.log", &format!("web-{n}.log"));
        writeln!(&late, "late {n}").unwrap();
        log.reads(&[&format!("late {n}")]);
        log.write("web.log", &format!("new {n}\n"));
        log.reads(&[&format!("new {n}")]);
    }
    log.end();
}

#[test]
fn what_is_no_file_is_said_once() {
    let mut log = Following::new("log", |it| fs::create_dir(it.join("log")).unwrap());
    let path = log.path("log").display().to_string();
    log.is_told(&format!("log: it is a directory; name the files in it, as in `{path}/*.log`"));
    fs::remove_dir(log.path("log")).unwrap();
    log.write("log", "one\n");
    log.is_told("follows log");
    log.reads(&["one"]);
    log.end();
}

#[test]
fn goes_on_where_it_ended() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    log.write("log", "two\nunfin");
    log.reads(&["two"]);
    let (folder, mark) = log.end();
    append(&folder.path().join("log"), "ished\nfour\n");
    let mut log = Following::again(folder, "log", mark);
    assert_eq!(log.next_line(), ("unfinished".into(), Reading::CatchingUp));
    log.reads(&["four"]);
    log.end();
}

#[test]
fn rotated_while_it_was_down() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    let (folder, mark) = log.end();
    append(&folder.path().join("log"), "unread\n");
    fs::rename(folder.path().join("log"), folder.path().join("log.1")).unwrap();
    append(&folder.path().join("log"), "new\n");
    fs::rename(folder.path().join("log.1"), folder.path().join("log.2")).unwrap();
    fs::rename(folder.path().join("log"), folder.path().join("log.1")).unwrap();
    append(&folder.path().join("log"), "newest\n");
    let mut log = Following::again(folder, "log", mark);
    log.reads(&["unread", "new"]);
    // Killed here, it goes on in the middle of what it missed.
    let after_unread = log.mark.take();
    log.reads(&["newest"]);
    let (folder, _) = log.end();
    let mut log = Following::again(folder, "log", after_unread);
    log.reads(&["new", "newest"]);
    log.end();
}

/// Waits until the clock has moved on that stamps files: by their times they are put in order.
fn tick(folder: &Path) {
    let probe = folder.join("probe");
    let born = || {
        fs::write(&probe, "").unwrap();
        let born = fs::metadata(&probe).unwrap().created().unwrap();
        fs::remove_file(&probe).unwrap();
        born
    };
    let begun = born();
    while born() == begun {}
}

/// Killed when it has dealt with a copy that it missed, it goes on in the file that was copied.
#[test]
fn rotated_by_copies_and_renames_while_it_was_down() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    let (folder, mark) = log.end();
    let path = |name: &str| folder.path().join(name);
    fs::rename(path("log"), path("log.2")).unwrap();
    tick(folder.path());
    append(&path("log"), "two\n");
    tick(folder.path());
    fs::copy(path("log"), path("log.1")).unwrap();
    open(&path("log")).set_len(0).unwrap();
    tick(folder.path());
    append(&path("log"), "three\n");
    let mut log = Following::again(folder, "log", mark);
    log.reads(&["two", "three"]);
    let after_two = log.mark.take();
    let (folder, _) = log.end();
    let path = |name: &str| folder.path().join(name);
    fs::rename(path("log.1"), path("log.3")).unwrap();
    fs::rename(path("log"), path("log.1")).unwrap();
    append(&path("log"), "four\n");
    let mut log = Following::again(folder, "log", after_two);
    log.reads(&["three", "four"]);
    log.end();
}

#[test]
fn by_looking_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("log").display().to_string();
    let source = Source { pattern, from_end: false, polled: true };
    let mut log = Following::of(folder, source, None, || {});
    log.is_told("awaits 0");
    log.write("log", "one\n");
    log.reads(&["one"]);
    log.write("log", "two\n");
    log.rename("log", "log.1");
    log.write("log", "three\n");
    log.reads(&["two", "three"]);
    fs::remove_file(log.path("log")).unwrap();
    log.write("log", "four\n");
    log.reads(&["four"]);
    log.end();
}

#[test]
fn from_its_end_is_read_only_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("a.log"), "old\n");
    let pattern = folder.path().join("*.log").display().to_string();
    let source = Source { pattern, from_end: true, polled: false };
    let mut log = Following::of(folder, source, None, || {});
    log.is_told("follows a.log");
    log.write("a.log", "one\n");
    log.reads(&["one"]);
    log.write("new", "two\n");
    log.rename("new", "b.log");
    log.reads(&["two"]);
    log.end();
}

/// Set in a process of a test's own.
const LIMITED: &str = "FAIL2MISP_TEST_LIMITED";

/// Whether this is a process that was started by `limit`, words of a shell; runs the test in one if not.
fn is_limited(test: &str, limit: &str) -> bool {
    if std::env::var_os(LIMITED).is_some() {
        return true;
    }
    // The limits of a user namespace are nobody else's.
    let mut child = std::process::Command::new("unshare");
    child.args(["-r", "sh", "-c", &format!("{limit} \"$0\" --exact {test}")]);
    child.arg(std::env::current_exe().unwrap()).env(LIMITED, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[test]
fn what_may_not_be_read_is_said_until_it_may() {
    let without = "exec setpriv --bounding-set=-dac_override,-dac_read_search";
    if !is_limited("what_may_not_be_read_is_said_until_it_may", without) {
        return;
    }
    let allow =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let mut log = Following::new("private/log", |it| {
        fs::create_dir(it.join("private")).unwrap();
        append(&it.join("private/log"), "one\n");
        allow(&it.join("private/log"), 0);
    });
    log.is_told("log: Permission denied (os error 13)");
    allow(&log.path("private/log"), 0o600);
    log.is_told("follows log");
    log.reads(&["one"]);
    let writer = open(&log.path("private/log"));
    allow(&log.path("private"), 0);
    writeln!(&writer, "late").unwrap();
    log.is_told("log: Permission denied (os error 13)");
    allow(&log.path("private"), 0o700);
    log.reads(&["late"]);
    log.is_told("follows log");
    allow(&log.path("private"), 0);
    let (folder, mark) = log.end();
    let mut log = Following::again(folder, "private/log", mark);
    log.is_told("log: Permission denied (os error 13)");
    allow(&log.path("private"), 0o700);
    log.write("private/log", "two\n");
    log.is_told("follows log");
    log.reads(&["two"]);
    log.end();
}

#[test]
fn descriptors_are_no_limit_where_more_may_be_had() {
    if !is_limited("descriptors_are_no_limit_where_more_may_be_had", "ulimit -Sn 99; exec") {
        return;
    }
    let names: Vec<String> = (100..300).map(|it| it.to_string()).collect();
    let mut log = Following::new("*.log", |folder| write_each(folder, &names));
    log.reads(&names.iter().map(String::as_str).collect::<Vec<_>>());
    log.end();
}

#[test]
fn descriptors_are_left_for_all_else() {
    if !is_limited("descriptors_are_left_for_all_else", "ulimit -n 64; exec") {
        return;
    }
    let names: Vec<String> = (10..50).map(|it| it.to_string()).collect();
    let mut log = Following::new("*.log", |folder| write_each(folder, &names));
    match log.heard.recv_timeout(PATIENCE).unwrap() {
        Heard::Told(note) => assert!(note.contains("40 files, the first 32"), "{note}"),
        other => panic!("{other:?}"),
    }
    log.reads(&names.iter().map(String::as_str).take(32).collect::<Vec<_>>());
    log.end();
}

/// Makes a log of each name, with the name in it.
fn write_each(folder: &Path, names: &[String]) {
    names.iter().for_each(|it| append(&folder.join(format!("{it}.log")), &format!("{it}\n")));
}

#[test]
fn where_the_kernel_does_not_watch_it_is_looked_again_and_again() {
    let test = "where_the_kernel_does_not_watch_it_is_looked_again_and_again";
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        if is_limited(test, &format!("echo 0 > /proc/sys/user/{limit}; exec")) {
            return looks_again_and_again();
        }
    }
}

fn looks_again_and_again() {
    let mut log = Following::new("*.log", |_| {});
    log.is_told("awaits 0");
    match log.heard.recv_timeout(PATIENCE).unwrap() {
        Heard::Told(note) => assert!(note.contains("max_user_watches"), "{note}"),
        other => panic!("{other:?}"),
    }
    log.write("a.log", "one\n");
    log.is_told("follows a.log");
    log.reads(&["one"]);
    log.write("b.log", "two\n");
    log.is_told("follows b.log");
    log.reads(&["two"]);
    log.write("a.log", "three\n");
    log.reads(&["three"]);
    log.end();
}

#[test]
fn a_fifo_is_read_as_it_comes() {
    let mut log = Following::new("log", |it| {
        let fifo = it.join("log");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    });
    log.is_told("follows log");
    for n in 0..3 {
        // Each writer comes and goes.
        log.write("log", &format!("one of {n}\ntwo"));
        log.write("log", &format!(" of {n}\n"));
        log.reads(&[&format!("one of {n}"), &format!("two of {n}")]);
    }
    let (_, mark) = log.end();
    assert_eq!(mark, None); // there is nothing to go back to
}

#[test]
fn a_log_that_is_a_fifo_for_some_time() {
    let mut log = Following::new("log", |it| append(&it.join("log"), "one\n"));
    log.reads(&["one"]);
    log.rename("log", "log.1");
    let fifo = log.path("log");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    log.write("log", "two\n"); // which waits for the reader
    log.reads(&["two"]);
    fs::remove_file(log.path("log")).unwrap();
    log.write("log", "three\n");
    log.reads(&["three"]);
    log.end();
}

#[test]
fn standard_input_is_read_as_it_comes() {
    // `/dev/stdin` leads to `/proc/self/fd/0`; any other pipe is reached in the same way.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let pattern = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let source = Source { pattern, from_end: false, polled: false };
    let mut log = Following::of(tempfile::tempdir().unwrap(), source, None, || {});
    for n in 0..3 {
        writeln!(writer, "line {n}").unwrap();
        log.reads(&[&format!("line {n}")]);
    }
    log.end();
}

#[test]
fn a_queue_of_the_kernel_that_overflows_hides_nothing() {
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let room: usize = queue.trim().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("a.log"), "begun\n");
    let source = Source {
        pattern: folder.path().join("*.log").display().to_string(),
        from_end: false,
        polled: false,
    };
    // The follower is held back while more happens than the kernel notes.
    let gate = Arc::new(Mutex::new(()));
    let held = Arc::clone(&gate);
    let mut log = Following::of(folder, source, None, move || drop(held.lock().unwrap()));
    log.reads(&["begun"]);
    let closed = gate.lock().unwrap();
    log.write("a.log", "before\n");
    // In turn, as the kernel notes only once what is repeated.
    let (mut one, mut other) = (open(&log.path("one")), open(&log.path("other")));
    for _ in 0..room / 2 + 10 {
        one.write_all(b"x").unwrap();
        other.write_all(b"x").unwrap();
    }
    log.write("a.log", "unseen\n");
    log.write("b.log", "new and unseen\n");
    drop(closed);
    log.reads(&["before", "unseen", "new and unseen"]);
    log.end();
}

#[test]
fn a_log_that_is_rotated_twice_before_it_is_read_keeps_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("log").display().to_string();
    let source = Source { pattern, from_end: false, polled: false };
    append(&folder.path().join("log"), "one\n");
    // The follower is held back once it has opened the log.
    let gate = Arc::new(Mutex::new(()));
    let (held, closed) = (Arc::clone(&gate), gate.lock().unwrap());
    let (opens, opened) = channel();
    let mut log = Following::of(folder, source, None, move || {
        opens.send(()).unwrap();
        drop(held.lock().unwrap());
    });
    opened.recv_timeout(PATIENCE).unwrap();
    for (rotated, line) in [("log.2", "two\n"), ("log.1", "three\n")] {
        wait_for_tick(&File::open(log.path("log")).unwrap());
        log.rename("log", rotated);
        log.write("log", line);
    }
    drop(closed);
    log.reads(&["one", "two", "three"]);
    log.end();
}

/// Waits until the file system's clock has gone on since `file` was written to: files that are written
/// within one tick of it have no order.
fn wait_for_tick(file: &File) {
    let written = file.metadata().unwrap().modified().unwrap();
    let now = || tempfile::tempfile().unwrap().metadata().unwrap().modified().unwrap();
    while now() <= written {
        std::thread::yield_now();
    }
}

#[test]
fn a_flood_through_rotations_loses_nothing() {
    const LINES: usize = 200_000;
    let mut log = Following::new("log", |it| append(&it.join("log"), "begun\n"));
    log.reads(&["begun"]);
    let path = log.path("log");
    let writer = std::thread::spawn(move || {
        let mut file = std::io::BufWriter::new(open(&path));
        for n in 0..LINES {
            writeln!(file, "line {n}").unwrap();
            if n % 50_000 == 49_999 {
                file.flush().unwrap();
                fs::rename(&path, path.with_extension(n.to_string())).unwrap();
                writeln!(file, "late {n}").unwrap();
                file.flush().unwrap();
                wait_for_tick(file.get_ref());
                file = std::io::BufWriter::new(open(&path));
            }
        }
    });
    let (mut n_lines, mut n_late) = (0, 0);
    while n_lines < LINES || n_late < LINES / 50_000 {
        let (line, _) = log.next_line();
        if line.starts_with("late") {
            n_late += 1;
        } else {
            assert_eq!(line, format!("line {n_lines}"));
            n_lines += 1;
        }
    }
    writer.join().unwrap();
    log.end();
}
