//! `backfill`: runs a jail over old logs, and tells who would have been banned.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use exchange::{Report, spool};
use jail::config::Jail;
use jail::judge::{Action, Event, Judge, Reading, Rules};
use jail::{Ban, BanTime, Failure, Subject};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, Hit, Outcome, Reach, Scanner, Settings, Told, Undated};
use serde_json::json;

use crate::cli::{self, Folders};
use crate::deliver;
use crate::exit::{Code, Failed, Outcome as Ended, escape};
use crate::jails::{self, Source};
use crate::operator::{local, table};
use crate::reading;
use crate::settings;

/// `backfill`
pub(crate) fn run(folders: &Folders, args: &cli::Backfill, out: &mut dyn Write) -> Ended {
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let source = Source::find(folders, &settings);
    let jail = source.read_jail(&args.jail).map_err(Failed::usage)?;
    let filter = Filter::compile(&jail.filter)
        .with_context(|| format!("jail `{}`", jail.name))
        .map_err(Failed::usage)?;
    let mut past = Past::new(&jail, Arc::new(filter));
    let (inputs, missing) = hunt::find(&args.paths);
    if let Some(missing) = missing.into_iter().next() {
        return Err(Failed::other_side(anyhow::Error::new(missing).context("read the logs")));
    }
    for input in &inputs {
        past.read(input).map_err(Failed::other_side)?;
    }
    let offenders = past.offenders();
    let text = match args.format.is_json() {
        true => offenders.iter().map(as_json).collect(),
        false => as_table(&jail.name, &offenders),
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    if args.share {
        share(folders, &jail.name, &offenders).map_err(Failed::other_side)?;
    }
    Ok(if offenders.is_empty() { Code::No } else { Code::Done })
}

/// Puts the offenders into the spool, dated as the logs date them. Guard never hears of them.
fn share(folders: &Folders, jail: &str, offenders: &[Offender]) -> Result<()> {
    let reports: Vec<_> = offenders.iter().map(|it| it.report(jail)).collect();
    spool::put(&folders.state, &reports)?;
    eprintln!("fail2misp: {} are on their way to MISP", jails::count(reports.len(), "offender"));
    // What is in the spool is safe, also where nobody delivers it yet.
    if let Err(error) = deliver::ensure(folders) {
        eprintln!("fail2misp: they wait in the spool; {error:#}");
    }
    Ok(())
}

/// A jail that lives through its logs again, each line at its own time.
struct Past {
    jail: String,
    filter: Arc<Filter>,
    judge: Judge,
    /// The time of the last line: it never runs backwards.
    clock: Timestamp,
    offenders: HashMap<Subject, Offender>,
}

/// What would have become of one subject.
struct Offender {
    subject: Subject,
    n_bans: u64,
    /// Failures of all its bans.
    n_failures: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Offender {
    fn report(&self, jail: &str) -> Report {
        let ban = Ban {
            jail: jail.to_owned(),
            subject: self.subject.clone(),
            time: self.last,
            bantime: BanTime::Seconds(0),
            n_failures: u32::try_from(self.n_failures).unwrap_or(u32::MAX),
            first_failure: self.first,
            last_failure: self.last,
            matches: Vec::new(),
            fields: Vec::new(),
        };
        Report { historical: true, ..Report::of(ban) }
    }
}

impl Past {
    fn new(jail: &Jail, filter: Arc<Filter>) -> Self {
        Self {
            jail: jail.name.clone(),
            filter,
            judge: Judge::new(vec![Rules::from(jail)]),
            clock: Timestamp::MIN,
            offenders: HashMap::new(),
        }
    }

    fn read(&mut self, input: &hunt::Input) -> Result<()> {
        let read = || format!("read `{}`", escape(&input.path.display().to_string()));
        let text = input.text().with_context(read)?;
        let settings = Settings {
            zone: TimeZone::system(),
            undated: Undated::Skip,
            evidence: false,
            ..Settings::default()
        };
        let mut scanner = Scanner::new(Arc::clone(&self.filter), settings);
        let now = input.written(Timestamp::now());
        reading::through(text, &mut scanner, Reach::First, now, |told| -> Result<()> {
            if let Told::Line { outcomes, .. } = told {
                for outcome in outcomes.drain(..) {
                    if let Outcome::Failure(hit) = outcome {
                        self.count(hit);
                    }
                }
            }
            Ok(())
        })
        .with_context(read)
    }

    fn count(&mut self, hit: Hit) {
        self.clock = self.clock.max(hit.time);
        let failure = Failure {
            jail: self.jail.clone(),
            subject: Subject::from(hit.id),
            time: hit.time,
            n_attempts: hit.n_attempts,
            matches: Vec::new(),
            fields: Vec::new(),
        };
        let event = Event::Failure(failure, Reading::CatchingUp);
        for action in self.judge.handle(event, self.clock) {
            let (ban, is_new) = match action {
                Action::Ban(ban) => (ban, true),
                Action::Prolong(ban) => (ban, false),
                _ => continue,
            };
            let offender = self.offenders.entry(ban.subject.clone()).or_insert(Offender {
                subject: ban.subject,
                n_bans: 0,
                n_failures: 0,
                first: ban.first_failure,
                last: ban.last_failure,
            });
            offender.n_bans += u64::from(is_new);
            offender.n_failures += u64::from(ban.n_failures);
            offender.last = offender.last.max(ban.last_failure);
        }
    }

    /// Everybody who would have been banned, the first of them first.
    fn offenders(self) -> Vec<Offender> {
        let mut offenders: Vec<_> = self.offenders.into_values().collect();
        offenders.sort_unstable_by(|a, b| (a.first, &a.subject).cmp(&(b.first, &b.subject)));
        offenders
    }
}

fn as_json(it: &Offender) -> String {
    let object = json!({
        "address": it.subject,
        "bans": it.n_bans,
        "failures": it.n_failures,
        "first": it.first.as_second(),
        "last": it.last.as_second(),
    });
    format!("{object}\n")
}

fn as_table(jail: &str, offenders: &[Offender]) -> String {
    if offenders.is_empty() {
        return format!("jail {jail} would have banned nobody\n");
    }
    let mut table = table(["address", "bans", "failures", "first failure", "last failure"]);
    for it in offenders {
        table.add_row([
            escape(&it.subject.to_string()),
            it.n_bans.to_string(),
            it.n_failures.to_string(),
            local(it.first),
            local(it.last),
        ]);
    }
    format!(
        "{table}\n\njail {jail} would have banned {}\n",
        jails::count(offenders.len(), "address")
    )
}
