//! The command line: every flag and its help, from which completions and manual pages are made.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jail::config::duration;

/// Watches logs, bans attackers, tells MISP about every one of them.
#[derive(Debug, Parser)]
#[command(name = "fail2misp", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) folders: Folders,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folders {
    /// Our own configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "FAIL2MISP_CONFIG",
        default_value = "/etc/fail2misp/config.toml",
        hide_env_values = true
    )]
    pub(crate) config: PathBuf,

    /// fail2ban's configuration [default: `jails.path` of the configuration, else /etc/fail2ban
    /// where it exists, else the built-in jails]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FAIL2MISP_FAIL2BAN_DIR",
        hide_env_values = true
    )]
    pub(crate) fail2ban_dir: Option<PathBuf>,

    /// Where bans, the outbox and the spool are kept
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FAIL2MISP_STATE",
        default_value = "/var/lib/fail2misp",
        hide_env_values = true
    )]
    pub(crate) state: PathBuf,

    /// Where the control sockets are
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FAIL2MISP_RUNTIME",
        default_value = "/run/fail2misp",
        hide_env_values = true
    )]
    pub(crate) runtime: PathBuf,
}

impl Folders {
    /// Where guard answers.
    pub(crate) fn guard_socket(&self) -> PathBuf {
        self.runtime.join("guard/control.sock")
    }

    /// Where the commands of actions are run for guard.
    pub(crate) fn actions_socket(&self) -> PathBuf {
        self.runtime.join("actions/control.sock")
    }

    /// Where exchange answers.
    pub(crate) fn exchange_socket(&self) -> PathBuf {
        self.runtime.join("exchange/control.sock")
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the whole story on this machine, with nothing configured and nothing installed
    Demo(Demo),
    /// Guards this host: follows logs, bans, tells MISP
    Run(Run),
    /// Reads all configuration and says every fault
    Check(Format),
    /// Tries a filter on a log, as fail2ban-regex does
    Regex(Regex),
    /// Runs a jail over old logs: who would have been banned
    Backfill(Backfill),
    /// Searches old logs for indicators: were they here, and did they get in?
    Hunt(Hunt),
    /// Tells all that is known of an address or a prefix
    Who(Who),
    /// Tells MISP about one offender: called by fail2ban's action
    Report(Report),
    /// Shows what the running daemon does, or one jail of it
    Status(Status),
    /// Lists who is banned
    Banned(Banned),
    /// Bans by hand
    Ban(BanWords),
    /// Lifts bans
    Unban(Unban),
    /// Has the daemon read its configuration again and change what changed
    Reload(Reload),
    /// Shows an option in force, of the daemon or of a jail, as fail2ban-client does
    Get(Words),
    /// Changes an option until the configuration is read again, as fail2ban-client does
    Set(Words),
    /// Ends the daemon, or a jail until the configuration is read again
    Stop(Words),
    /// Opens the log anew, after a rotation
    Flushlogs(Words),
    /// Asks whether the daemon answers
    Ping(Format),
    /// Shows what MISP has not confirmed, and why
    Outbox(Outbox),
    /// Looks at everything that can be wrong, here and at MISP, and says the remedy
    Doctor(Format),
    /// Shows what the indicators of others became, and why
    Blocklist(BlockListArgs),
    /// Serves a small MISP-compatible server
    Hub(Hub),
    /// Delivers what lies in the outbox, then ends: started by `report` where no daemon runs
    #[command(hide = true)]
    Deliver,
}

/// How the output is written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// How the output is written
    #[arg(short, long = "output", value_enum, value_name = "FORMAT", default_value = "human")]
    output: Output,

    /// The short form of `-o json`
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Format {
    /// For people.
    pub(crate) fn human() -> Self {
        Self { output: Output::Human, json: false }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json || self.output == Output::Json
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Output {
    Human,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keeps the hub and the guard up until the program is ended
    #[arg(long)]
    pub(crate) stay: bool,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Runs one part alone
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Option<Part>,

    /// Decides and logs, but moves no firewall, tells nobody and keeps its state in memory
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Part {
    /// Follows logs and bans
    Guard,
    /// Runs the commands of `action.d` for a guard that has not the rights for them
    Actions,
    /// Talks to MISP
    Exchange,
}

#[derive(Debug, Args)]
pub(crate) struct Regex {
    /// A log, `-` for standard input, or one line
    pub(crate) log: String,

    /// A filter (`sshd`, `sshd[mode=aggressive]`), its file, or a failregex
    pub(crate) filter: String,

    /// An ignoreregex, or a filter that has one
    pub(crate) ignoreregex: Option<String>,

    /// No name is resolved: the id is the text as it stands
    #[arg(long)]
    pub(crate) raw: bool,

    /// Each line begins with `@EPOCH `, its date, as a journal's entry has one
    #[arg(long)]
    pub(crate) dated: bool,

    /// An option of the filter
    #[arg(long, value_name = "K=V")]
    pub(crate) option: Vec<String>,

    /// The time that it is [default: now]
    #[arg(long, value_name = "EPOCH")]
    pub(crate) now: Option<f64>,

    /// The zone of dates that name none: Europe/Vienna, or a POSIX string [default: this host's]
    #[arg(long, value_name = "TZ")]
    pub(crate) timezone: Option<String>,

    /// Shows every line that matched
    #[arg(long)]
    pub(crate) print_all_matched: bool,

    /// Shows every line that was ignored
    #[arg(long)]
    pub(crate) print_all_ignored: bool,

    /// Shows no line that was ignored
    #[arg(long, conflicts_with = "print_all_ignored")]
    pub(crate) print_no_ignored: bool,

    /// Shows every line that was missed
    #[arg(long)]
    pub(crate) print_all_missed: bool,

    /// Shows no line that was missed
    #[arg(long, conflicts_with = "print_all_missed")]
    pub(crate) print_no_missed: bool,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The jail; it need not be enabled
    pub(crate) jail: String,

    /// The logs: files, folders or wildcards, packed or not; rotated ones are read oldest first
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,

    /// Tells MISP whom it would have banned, with the times of the log; nobody is banned
    #[arg(long)]
    pub(crate) share: bool,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Hunt {
    /// What is looked for: a list (plain, CSV, MISP's JSON), `-` for standard input, `pulled` for
    /// what exchange took from MISP and lets be blocked, or `misp` for what each MISP or hub of the
    /// configuration holds
    #[arg(short, long, value_name = "LIST", required = true)]
    pub(crate) indicators: Vec<String>,

    /// Logs, folders, wildcards, `-`; plain, gz, xz, zst, bz2 or of the journal
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,

    /// With `misp`: only what it or its event is tagged with, `!` in front for not
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// With `misp`: only what is in this event, by its id or uuid
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Vec<String>,

    /// With `misp`: only what was added or changed within this time: 7d, 12h
    #[arg(long, value_name = "AGE")]
    pub(crate) last: Option<String>,

    /// Only lines written then or later: 2026-10-01, 2026-10-01T12:00Z, 30d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only lines written then or earlier
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Searches for prefixes wider than /8, too
    #[arg(long)]
    pub(crate) any: bool,

    /// Tells who shares keys, names of users, networks or times with what was found, too
    #[arg(long)]
    pub(crate) related: bool,

    /// Finds addresses inside the names of hosts, too: ip-192-0-2-7, 7.2.0.192.in-addr.arpa
    #[arg(long)]
    pub(crate) in_names: bool,

    /// Shows so many lines of each indicator
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,

    /// Shows so many lines before and behind each of them
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub(crate) context: usize,

    /// The exit code is 4 where any indicator came to this
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub(crate) fail_on: Option<FailOn>,

    /// Writes CSV
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) csv: bool,

    /// Writes a report as a page of HTML, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Gives MISP a sighting of what was found and it knows, with the time of the log: destinations
    /// that take the jail `hunt`
    #[arg(long)]
    pub(crate) sight: bool,

    /// Keeps in FILE how far an interrupted search came, and goes on from there
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Threads that search [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Who {
    /// An address or a prefix
    #[arg(value_name = "IP")]
    pub(crate) subject: String,

    /// Logs to search [default: those that guard follows]
    #[arg(value_name = "PATH")]
    pub(crate) logs: Vec<String>,

    /// Asks no MISP and no hub
    #[arg(long)]
    pub(crate) offline: bool,

    #[command(flatten)]
    pub(crate) format: Format,
}

/// What `hunt --fail-on` names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FailOn {
    /// Somebody got in
    Success,
    /// Somebody failed, or got in
    Failure,
    /// Anything was found
    Hit,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The offender: an address or a prefix
    #[arg(value_name = "IP")]
    pub(crate) ip: String,

    /// The article's form: KEY URL EVENT SIGHT, its script's other four arguments
    #[arg(
        value_names = ["KEY", "URL", "EVENT", "SIGHT"],
        num_args = 4,
        conflicts_with_all = ["jail", "action"]
    )]
    pub(crate) article: Vec<OsString>,

    /// The jail that bans, whose action says which MISP is told
    #[arg(long, value_name = "NAME")]
    pub(crate) jail: Option<String>,

    /// fail2ban's name for the action, where a jail has several of ours
    #[arg(long, value_name = "NAME")]
    pub(crate) action: Option<String>,

    /// The host that bans, where it is not this one
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,

    /// The failures that led to the ban
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) failures: u32,

    /// When the ban began [default: now]
    #[arg(long, value_name = "EPOCH")]
    pub(crate) time: Option<f64>,

    /// How long the ban stands, -1 for ever
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) bantime: Option<f64>,

    /// 1 where fail2ban only restores the ban after a restart: then nobody is told
    #[arg(long, value_name = "0|1", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) restored: u8,

    /// `-`: the matched lines come by standard input
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub(crate) matches: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One jail
    pub(crate) jail: Option<String>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Banned {
    /// Only these addresses; the exit code is 1 where none of them is banned
    #[arg(value_name = "IP")]
    pub(crate) ips: Vec<String>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct BanWords {
    /// The jail that bans
    pub(crate) jail: String,

    /// The addresses or prefixes
    #[arg(value_name = "IP", required = true)]
    pub(crate) ips: Vec<String>,

    /// Even the address of a live administrator session
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unban {
    /// A jail, or else every jail, and the addresses
    #[arg(value_name = "[JAIL] IP", required_unless_present = "all", num_args = 1..)]
    pub(crate) words: Vec<String>,

    /// Lifts every ban
    #[arg(long, conflicts_with = "words")]
    pub(crate) all: bool,

    /// Tells MISP, too, that these are no attackers
    #[arg(long, conflicts_with = "all")]
    pub(crate) false_positive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Words {
    #[command(flatten)]
    pub(crate) format: Format,

    /// The rest of the command in fail2ban-client's words: `sshd bantime`, `sshd addignoreip 192.0.2.7`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// One jail alone
    pub(crate) jail: Option<String>,

    /// All jails, as where none is named
    #[arg(long, conflicts_with = "jail")]
    all: bool,

    /// Stops and starts jails that stay, too: their failures are forgotten
    #[arg(long)]
    pub(crate) restart: bool,

    /// Lifts the bans first
    #[arg(long)]
    pub(crate) unban: bool,

    /// Starts the jail where it does not run yet
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Outbox {
    #[command(subcommand)]
    pub(crate) command: Option<OutboxCommand>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Lists what waits and what was set aside
    List(Format),
    /// Tries entries again at once, those that were set aside, too
    Retry {
        /// Their numbers, as `list` shows them [default: all that were set aside]
        ids: Vec<u64>,
    },
    /// Forgets entries: MISP is not told
    Drop {
        /// Their numbers, as `list` shows them
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All that were set aside
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Lets entries go that wait for it where `[share] review` is set
    Approve {
        /// Their numbers, as `list` shows them
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All that wait for it
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Shows the very requests that would be sent, but for the key
    ///
    /// Until MISP has been asked for a fixed event, its attributes are shown without their uuids.
    Preview {
        /// The entries, as `list` shows them [default: all that wait]
        ids: Vec<u64>,
        #[command(flatten)]
        format: Format,
    },
    /// Tells nobody anything until `resume`, across restarts, too
    Pause,
    /// Tells again what waits
    Resume,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BlockListArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BlockListCommand>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BlockListCommand {
    /// Lists who is blocked, by whose word, and until when
    Show(Format),
    /// Tells what is known of an address, and what becomes of it; the exit code is 1 where no list
    /// blocks it
    Why {
        /// The address or prefix
        #[arg(value_name = "IP")]
        ip: String,
        #[command(flatten)]
        format: Format,
    },
    /// Shows what would change in lists that wait
    Diff(Format),
    /// Lets lists that wait become what they would be
    Accept(Format),
    /// Puts the lists back to what they were before the last change, until `accept`
    Rollback(Format),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Hub {
    #[command(subcommand)]
    pub(crate) command: Option<HubCommand>,

    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8420")]
    pub(crate) listen: SocketAddr,

    /// Where it keeps events, attributes, sightings and keys [default: `hub` in the state folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,

    /// Serves HTTPS with this certificate, in PEM; one that takes its place is used at once
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serves without encryption beyond this machine, too
    #[arg(long)]
    pub(crate) insecure_http: bool,

    /// Serves feed and lists to whoever asks: for firewalls that cannot show a key
    #[arg(long)]
    pub(crate) public_lists: bool,

    /// Forgets addresses that nobody reported or saw for so long, as `400d` [default: keeps all]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) keep: Option<Duration>,

    /// Knows where addresses are by this file, as GeoLite2-Country.mmdb or GeoLite2-ASN.mmdb; may be given twice
    #[arg(long, value_name = "FILE")]
    pub(crate) geoip: Vec<PathBuf>,

    /// Tells this [misp.NAME] of the configuration what hosts bring to the hub; may be said again
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Vec<String>,

    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubCommand {
    /// Lists, makes and revokes API keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Copies the store to a new file, also while the hub runs; the keys are not in it
    Backup {
        /// The new file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Lists the keys, without their secrets
    List(Format),
    /// Makes a key and prints it once
    Add {
        /// Who uses it
        name: String,
        /// What it may do: reader, sensor (adds, and changes its own), curator, administrator
        #[arg(long, default_value = "sensor")]
        role: hub::keys::Role,
        #[command(flatten)]
        format: Format,
    },
    /// Revokes a key
    Revoke {
        /// Its number, as `list` shows it
        id: u32,
    },
    /// Signs the change stream with a new key, which the old one introduces to all who follow
    RotateSigning(Format),
}

/// A time as configuration writes it: `12h`, `400d`, `1y 6mo`, or seconds.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = duration::seconds(text).map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is before now; write `400d`".to_owned())
}
