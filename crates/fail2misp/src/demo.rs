//! `demo`: the whole story on this machine, with nothing installed and nothing configured.
//!
//! A hub, a guard and an exchange run as threads, in a temporary folder. A sample auth.log is
//! replayed line by line into a file that guard follows; all that is shown is what the parts
//! themselves answer: guard over its socket, the hub over HTTP.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use control::guard::GuardClient;
use exchange::{Destination, GuardSource, Mode, Policy};
use guard::{Firewall, Guard, Memory, Nft, Stopper};
use hub::{Hub, StopHandle};
use jail::{Ban, NumberedBan};
use jiff::Zoned;
use misp::wire::{Attribute, Event};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::cli::{Demo, Folders};
use crate::disk::BuiltIn;
use crate::exit::{Code, Failed, Outcome, escape};
use crate::jails::{self, Source};
use crate::operator::{local, table};
use crate::{log, netns, settings, signals};

/// A morning's auth.log: two users who may, four attackers who may not.
const SAMPLE: &str = include_str!("demo/auth.log");
/// One of the four, half an hour later.
const COMES_BACK: &str = include_str!("demo/comes-back.log");
/// The sample's addresses are reserved for documentation, and shared in this demonstration only.
const DOCUMENTATION: [&str; 4] =
    ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"];
/// The built-in jails, with a log of the demonstration's own.
const JAIL_LOCAL: &str = "[DEFAULT]\nmaxretry = 3\nbantime = 1h\n";
/// Each part answers at once; a machine that needs longer than this has stopped.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the parts are asked anew while something is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// `demo`
pub(crate) fn run(args: &Demo, out: &mut dyn Write) -> Outcome {
    // While the process has one thread: only then the kernel grants a user namespace.
    let rights = netns::become_root_of_own();
    // Only what goes wrong; the rest is told by the story.
    log::begin("WARNING", log::Target::Stderr);
    let temp = tempfile::tempdir().context("make a folder for the demonstration");
    let temp = temp.map_err(Failed::other_side)?;
    let mut teller = Teller { out, is_json: args.format.is_json() };
    let told = tell(temp.path(), rights, args.stay, &mut teller).context("demo");
    told.map(|()| Code::Done).map_err(Failed::other_side)
}

/// Starts the parts, tells what they do, and ends them.
fn tell(temp: &Path, rights: Result<()>, stay: bool, teller: &mut Teller<'_>) -> Result<()> {
    let folders = Folders {
        config: temp.join("config.toml"),
        fail2ban_dir: None,
        state: temp.to_owned(),
        runtime: temp.to_owned(),
    };
    let hub = Hub::open(hub::Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..hub::Settings::new(temp.join("hub"))
    })?;
    let (url, key) = (hub.url(), hub.admin_key()?.reveal().to_owned());
    let stop_hub = StopHandle::new();
    let _hub = Part::start(move |stop| hub.run(stop), stop_hub, StopHandle::stop);
    teller.step(&json!({"step": "hub", "hub": url}), &format!("a small MISP answers at {url}"))?;

    let secret = SecretString::from(key.clone());
    let misp = misp::Client::new(&url, &secret, &misp::Options::default())?;
    let event = Event { info: "fail2misp demo".to_owned(), ..Event::default() };
    let event = misp.add_event(&event)?.and_then(|it| it.id);
    let event = event.context("the hub gave the event no number")?.to_string();

    let log = temp.join("auth.log");
    File::create(&log).context("make the sample log")?;
    let (guard, firewall) = start_guard(&folders, &log, rights)?;
    let stop_guard = guard.stopper();
    let _guard = Part::start(|_| guard.wait(), stop_guard, Stopper::stop);
    let words = format!("bans go to {firewall}");
    teller.step(&json!({"step": "firewall", "firewall": firewall}), &words)?;

    let key_file = exchange::keys::put(&folders.state, &url, &event, &secret)?;
    let exchange = exchange_setup(&folders, &url, &event, key_file)?;
    let _exchange = Part::start(
        |stop| exchange::run(exchange, stop),
        exchange::Stop::default(),
        exchange::Stop::stop,
    );

    let mut story = Story {
        log: &log,
        guard: GuardClient::connect(&folders.guard_socket())?,
        misp,
        event,
        last_ban: 0,
        banned: Vec::new(),
    };
    story.replay(SAMPLE, 4, teller)?;
    story.comes_back(teller)?;
    story.end(&firewall, &url, &key, teller)?;
    if stay {
        eprintln!("the hub stays up; its key is {key}; end with Ctrl-C");
        signals::wait()?;
    }
    Ok(())
}

/// A part that runs on a thread of its own, and is ended and waited for when the story ends,
/// however it ends.
struct Part<S> {
    stop: S,
    how: fn(&S),
    thread: Option<JoinHandle<()>>,
}

impl<S: Clone + Send + 'static> Part<S> {
    fn start<T>(work: impl FnOnce(&S) -> T + Send + 'static, stop: S, how: fn(&S)) -> Self {
        let theirs = stop.clone();
        // What goes wrong is seen by the story, which waits in vain, and in the log.
        let thread = thread::spawn(move || drop(work(&theirs)));
        Self { stop, how, thread: Some(thread) }
    }
}

impl<S> Drop for Part<S> {
    fn drop(&mut self) {
        (self.how)(&self.stop);
        if let Some(thread) = self.thread.take() {
            // A part that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Starts guard on the built-in jail sshd, and says what holds its bans.
fn start_guard(folders: &Folders, log: &Path, rights: Result<()>) -> Result<(Guard, String)> {
    let local = format!("{JAIL_LOCAL}[sshd]\nenabled = true\nlogpath = {}\n", log.display());
    let source = Source::BuiltIn(BuiltIn { overlay: [("jail.local".into(), local)].into() });
    let configuration = source.read(&settings::Guard::default());
    if let Some(fault) = configuration.faults.first() {
        bail!("the built-in jails: {}", jails::describe(fault));
    }
    let (state, socket) = (folders.state.join("guard"), folders.guard_socket());
    // A thread takes what it starts with it into its namespace, and nothing else of the process.
    let started = thread::spawn(move || {
        let (firewall, words) = firewall_for(rights);
        let guard = Guard::start(guard::Setup {
            disabled: Vec::new(),
            jails: configuration.jails,
            state: Some(state),
            socket: Some(socket),
            firewall,
            block_limits: guard::Limits::default(),
            clock: guard::Clock::system(),
            purge_age: guard::store::PURGE_AGE,
            fail2ban_socket: None,
            actions: None,
            together: jail::judge::Together::default(),
            protect_sessions: false,
            look_back: None,
            program: None,
        });
        guard.map(|guard| (guard, words))
    });
    match started.join() {
        Ok(started) => started.context("start guard"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The hub as the only destination, in the article's way: one event, every return a sighting.
fn exchange_setup(
    folders: &Folders,
    url: &str,
    event: &str,
    key_file: PathBuf,
) -> Result<exchange::Setup> {
    let (url, event) = (url.to_owned(), event.to_owned());
    let addressee = exchange::Addressee { url, event, sightings: true, key_file };
    let allow = DOCUMENTATION.iter().map(|net| net.parse()).collect::<Result<_, _>>()?;
    Ok(exchange::Setup {
        source: Some(Box::new(GuardSource::new(folders.guard_socket()))),
        destinations: vec![Destination {
            jails: vec!["*".to_owned()],
            ..Destination::of_action(&addressee)
        }],
        site: "demo".to_owned(),
        policy: Policy { allow, ..Policy::default() },
        ..exchange::Setup::new(folders.state.clone(), Mode::Daemon)
    })
}

/// The kernel where it may be had, memory where not; and the words for either, with the reason.
fn firewall_for(rights: Result<()>) -> (Box<dyn Firewall>, String) {
    match rights.and_then(|()| netns::enter()) {
        Ok(()) => (Box::new(Nft::default()), "nftables in a private network namespace".to_owned()),
        Err(error) => {
            let why = escape(&format!("{error:#}"));
            (Box::new(Memory::default()), format!("memory alone, no packet is dropped: {why}"))
        }
    }
}

/// What was told so far, and how to find out more.
struct Story<'a> {
    log: &'a Path,
    guard: GuardClient,
    misp: misp::Client,
    event: String,
    /// The number of the last ban that was told.
    last_ban: u64,
    /// Everybody who was banned, in the order of the first ban.
    banned: Vec<Banned>,
}

/// One address that was banned.
struct Banned {
    /// The last ban.
    ban: Ban,
    attribute: Option<Attribute>,
    n_sightings: usize,
}

impl Story<'_> {
    /// Writes a sample into the log, line by line with the time of now, and tells what comes of it
    /// until `n_bans` bans were told.
    fn replay(&mut self, sample: &str, n_bans: u64, teller: &mut Teller<'_>) -> Result<()> {
        let goal = self.last_ban + n_bans;
        let mut log = fs::OpenOptions::new().append(true).open(self.log).context("open the log")?;
        for line in sample.lines() {
            let line = dated_now(line);
            writeln!(log, "{line}").context("write the log")?;
            teller.line(&line)?;
            self.tell_bans(LOOK_AGAIN, teller)?;
        }
        let start = Instant::now();
        while self.last_ban < goal {
            if start.elapsed() > PATIENCE {
                bail!("guard banned {} of {n_bans} in {PATIENCE:?}", n_bans + self.last_ban - goal);
            }
            self.tell_bans(PATIENCE, teller)?;
        }
        self.tell_misp(teller)
    }

    /// Tells the bans that guard has made since the last one that was told.
    fn tell_bans(&mut self, wait: Duration, teller: &mut Teller<'_>) -> Result<()> {
        for NumberedBan { number, ban } in self.guard.bans_since(self.last_ban, 100, wait)?.bans {
            let address = ban.subject.to_string();
            let until = ban.until().map_or_else(|| "for ever".to_owned(), local);
            teller.step(
                &json!({
                    "step": "ban",
                    "address": address,
                    "jail": ban.jail,
                    "failures": ban.n_failures,
                    "until": ban.until().map(|it| it.as_second()),
                }),
                &format!(
                    "{address} is banned until {until}: {} failures in jail {}",
                    ban.n_failures, ban.jail
                ),
            )?;
            self.last_ban = number;
            match self.banned.iter_mut().find(|it| it.ban.subject == ban.subject) {
                Some(known) => known.ban = ban,
                None => self.banned.push(Banned { ban, attribute: None, n_sightings: 0 }),
            }
        }
        Ok(())
    }

    /// Waits until MISP knows of everybody, and tells what it made of them.
    fn tell_misp(&mut self, teller: &mut Teller<'_>) -> Result<()> {
        for banned in &mut self.banned {
            let address = banned.ban.subject.to_string();
            let Some(attribute) = &banned.attribute else {
                let attribute = wait_for("the attribute", || {
                    Ok(self.misp.find_attributes(&self.event, "ip-src", &[&address])?.pop())
                })?;
                let uuid = attribute.uuid.map(|it| it.to_string());
                teller.step(
                    &json!({"step": "attribute", "address": address, "attribute": uuid}),
                    &format!("{address} is attribute {} at MISP", uuid.as_deref().unwrap_or("?")),
                )?;
                banned.attribute = Some(attribute);
                continue;
            };
            let id = attribute.id.context("the hub gave the attribute no number")?;
            banned.n_sightings = self.misp.sightings_of(id)?.len();
        }
        Ok(())
    }

    /// The first of the banned is let go, comes back, and is sighted.
    fn comes_back(&mut self, teller: &mut Teller<'_>) -> Result<()> {
        let first = self.banned.first().context("nobody was banned")?;
        let (subject, attribute) = (first.ban.subject.clone(), first.attribute.clone());
        let id = attribute.and_then(|it| it.id).context("MISP does not know the first of them")?;
        self.guard.unban(None, Some(std::slice::from_ref(&subject)))?;
        let address = subject.to_string();
        teller.step(
            &json!({"step": "unban", "address": address}),
            &format!("{address} is let go by hand"),
        )?;
        self.replay(COMES_BACK, 1, teller)?;
        let n = wait_for("the sighting", || {
            Ok(Some(self.misp.sightings_of(id)?.len()).filter(|n| *n > 0))
        })?;
        self.banned[0].n_sightings = n;
        teller.step(
            &json!({"step": "sighting", "address": address}),
            &format!("{address} was known at MISP: a sighting"),
        )
    }

    /// The table of all who were banned, or the last object.
    fn end(&self, firewall: &str, hub: &str, key: &str, teller: &mut Teller<'_>) -> Result<()> {
        let mut table =
            table(["address", "jail", "fails", "banned until", "MISP attribute", "sightings"]);
        for Banned { ban, attribute, n_sightings } in &self.banned {
            let uuid = attribute.as_ref().and_then(|it| it.uuid);
            table.add_row([
                ban.subject.to_string(),
                ban.jail.clone(),
                ban.n_failures.to_string(),
                ban.until().map_or_else(|| "for ever".to_owned(), local),
                uuid.map(|it| it.to_string()).unwrap_or_default(),
                n_sightings.to_string(),
            ]);
        }
        let n_attributes = self.banned.iter().filter(|it| it.attribute.is_some()).count();
        let n_sightings: usize = self.banned.iter().map(|it| it.n_sightings).sum();
        teller.last(
            &json!({
                "banned": self.banned.len(),
                "attributes": n_attributes,
                "sightings": n_sightings,
                "firewall": firewall,
                "hub": hub,
                "key": key,
            }),
            &format!("\n{table}\n\nThe hub: {hub}"),
        )
    }
}

/// The line with the time of now in place of its own.
fn dated_now(line: &str) -> String {
    const STAMP: usize = "Nov 22 06:31:58".len();
    format!("{}{}", Zoned::now().strftime("%b %e %H:%M:%S"), &line[STAMP..])
}

/// Asks again and again until there is an answer.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().with_context(|| format!("wait for {what}"))? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain for {what}");
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}

/// Says each step in the form that was asked for.
struct Teller<'a> {
    out: &'a mut dyn Write,
    is_json: bool,
}

impl Teller<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        match self.is_json {
            true => self.say(&json!({"step": "line", "line": line}).to_string()),
            false => self.say(&format!("  log  {line}")),
        }
    }

    fn step(&mut self, object: &Value, words: &str) -> Result<()> {
        match self.is_json {
            true => self.say(&object.to_string()),
            false => self.say(&format!("=> {words}")),
        }
    }

    fn last(&mut self, object: &Value, words: &str) -> Result<()> {
        self.say(&if self.is_json { object.to_string() } else { words.to_owned() })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).context("write the output")
    }
}
