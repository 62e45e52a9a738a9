//! `doctor`: looks at everything that can be wrong, here and at MISP, and says the remedy.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use control::ClientError;
use control::exchange::{ExchangeClient, ExchangeStatus};
use control::guard::{GuardClient, GuardStatus};
use exchange::examine::{Finding, Verdict, examine};
use guard::{FirewallError, Ipset, Nft};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::{Folders, Format};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::jails::{self, Source};
use crate::settings::{self, Settings};
use crate::{destinations, operator};

/// What waits for longer than this is more than the usual delay of a busy server.
const LONG_SECONDS: i64 = 60 * 60;

/// `doctor`
pub(crate) fn run(folders: &Folders, format: Format, out: &mut dyn Write) -> Outcome {
    let mut chart = Chart::default();
    match settings::read(&folders.config) {
        Err(error) => chart.add("configuration", [Finding::fault(error.to_string())]),
        Ok(settings) => {
            chart.add("configuration", [Finding::fine(folders.config.display().to_string())]);
            everything(folders, &settings, &mut chart);
        }
    }
    let text = match format.is_json() {
        true => chart.json(),
        false => chart.human(),
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(if chart.has_fault() { Code::No } else { Code::Done })
}

fn everything(folders: &Folders, settings: &Settings, chart: &mut Chart) {
    let source = Source::find(folders, settings);
    let configuration = source.read(&settings.guard);
    let faults = configuration.faults.iter().map(|fault| match &fault.jail {
        Some(_) => Finding::fault(jails::describe(fault)),
        None => Finding::note(jails::describe(fault)),
    });
    chart.add("jails", faults);
    let n_jails = jails::count(configuration.jails.len(), "jail");
    chart.add("jails", [Finding::fine(format!("{n_jails} of {source} can start"))]);
    chart.add("state", state(&folders.state));
    let guard = GuardClient::connect(&folders.guard_socket()).and_then(|mut it| it.status());
    chart.add("guard", guard_of(&guard));
    let exchange =
        ExchangeClient::connect(&folders.exchange_socket()).and_then(|mut it| it.status());
    chart.add("exchange", exchange_of(&exchange));

    let (destinations, refused) =
        destinations::all(settings, &source, &configuration.jails, &folders.state);
    chart.add("MISP", refused.iter().map(|error| Finding::fault(format!("{error:#}"))));
    if destinations.is_empty() && refused.is_empty() {
        let words = format!(
            "no MISP is named; add the action `misp` to a jail, or a [misp.NAME] to `{}`",
            folders.config.display()
        );
        chart.add("MISP", [Finding::note(words)]);
    }
    for destination in destinations {
        let area = format!("MISP {} ({})", destination.name, destination.url);
        chart.add(&area, examine(&destination, Timestamp::now()));
    }
}

/// Whether the state folder can be used by whoever asks.
fn state(state: &Path) -> Vec<Finding> {
    let shown = state.display();
    let metadata = match fs::metadata(state) {
        Ok(metadata) => metadata,
        Err(_missing) => {
            return vec![Finding::note(format!(
                "`{shown}` is not there yet; the first start makes it"
            ))];
        }
    };
    let mut findings = vec![match rustix::fs::access(
        state,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    ) {
        Ok(()) => Finding::fine(format!("`{shown}` can be written")),
        Err(error) => Finding::fault(format!(
            "`{shown}` cannot be written ({error}); run this as root or as its owner (user {})",
            metadata.uid()
        )),
    }];
    for (folder, whose) in [("exchange", "keys"), ("guard", "bans"), ("spool", "offenders")] {
        let path = state.join(folder);
        let is_open = fs::metadata(&path).is_ok_and(|it| it.mode() & 0o077 != 0);
        if is_open {
            let path = path.display();
            findings.push(Finding::fault(format!(
                "others may look into `{path}`, which holds {whose}; `chmod 700 {path}`"
            )));
        }
    }
    let bad = state.join("exchange/bad");
    let n_bad = fs::read_dir(&bad).map_or(0, Iterator::count);
    if n_bad > 0 {
        let (files, bad) = (jails::count(n_bad, "file"), bad.display());
        findings.push(Finding::note(format!(
            "{files} of the spool could not be read; look at `{bad}`, and remove what is of no use"
        )));
    }
    findings
}

fn guard_of(status: &Result<GuardStatus, ClientError>) -> Vec<Finding> {
    match status {
        Ok(status) => {
            let mut findings =
                vec![Finding::fine(format!("it runs; the firewall is {}", status.firewall))];
            for jail in &status.disabled {
                findings.push(Finding::fault(format!("jail {}: {}", jail.jail, jail.why)));
            }
            for jail in &status.jails {
                let note = |note: &String| Finding::note(format!("jail {}: {note}", jail.jail));
                findings.extend(jail.notes.iter().map(note));
            }
            findings
        }
        Err(ClientError::NoDaemon { .. }) => vec![
            Finding::note(
                "it does not run; `fail2misp run` starts it (under fail2ban it is not needed)",
            ),
            firewall(),
        ],
        Err(error) => vec![Finding::fault(operator::chain(error))],
    }
}

/// Whether there is a firewall that guard could use.
fn firewall() -> Finding {
    match (Nft::works(), Ipset::works()) {
        (Ok(()), _) => Finding::fine("nftables can be used"),
        (Err(_), Ok(())) => Finding::fine("ipset and iptables can be used"),
        (Err(FirewallError::Denied), _) => {
            Finding::note("this user may not change the firewall; ask again as root")
        }
        (Err(error), Err(_)) => Finding::fault(format!(
            "no firewall can be used: {error}; install nftables (`apt install nftables`)"
        )),
    }
}

fn exchange_of(status: &Result<ExchangeStatus, ClientError>) -> Vec<Finding> {
    let status = match status {
        Ok(status) => status,
        Err(ClientError::NoDaemon { .. }) => {
            return vec![Finding::note(
                "it does not run; reports are delivered in the background, bans of guard wait",
            )];
        }
        Err(error) => return vec![Finding::fault(operator::chain(error))],
    };
    let mut findings = Vec::new();
    if status.is_paused {
        findings.push(Finding::fault("sharing is paused; `fail2misp outbox resume` ends it"));
    }
    for it in &status.destinations {
        let waits = it.oldest.map_or(0, |then| Timestamp::now().duration_since(then).as_secs());
        if waits > LONG_SECONDS {
            findings.push(Finding::fault(format!(
                "{} offenders wait for {} for up to {waits} s; what it says itself is below",
                it.depth, it.name
            )));
        }
        if it.n_set_aside > 0 {
            findings.push(Finding::note(format!(
                "{} refused {} for good; `fail2misp outbox` says why, `outbox retry` or `outbox \
                 drop` ends it",
                it.name, it.n_set_aside
            )));
        }
        if it.n_in_review > 0 {
            findings.push(Finding::note(format!(
                "{} wait for {} until `fail2misp outbox approve`",
                it.n_in_review, it.name
            )));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("it runs, and nothing is in its way"));
    }
    findings
}

/// All findings, each with where it was found.
#[derive(Default)]
struct Chart(Vec<(String, Finding)>);

impl Chart {
    fn add(&mut self, area: &str, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings.into_iter().map(|finding| (area.to_owned(), finding)));
    }

    fn has_fault(&self) -> bool {
        self.0.iter().any(|(_, finding)| finding.verdict == Verdict::Fault)
    }

    fn human(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (area, Finding { verdict, text: found }) in &self.0 {
            if area != last {
                text += &format!("{}\n", escape(area));
                last = area;
            }
            text += &format!("  {:5} {}\n", word(*verdict), escape(found));
        }
        let n = self.0.iter().filter(|(_, it)| it.verdict == Verdict::Fault).count();
        let sum = match n {
            0 => "nothing is wrong".to_owned(),
            n => format!("{} to mend", jails::count(n, "thing")),
        };
        text + &format!("{sum}\n")
    }

    fn json(&self) -> String {
        let line = |(area, finding): &(String, Finding)| {
            let (verdict, text) = (word(finding.verdict), &finding.text);
            operator::one_line(&json!({"area": area, "verdict": verdict, "text": text}))
        };
        self.0.iter().map(line).collect()
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => "ok",
        Verdict::Note => "note",
        Verdict::Fault => "FAULT",
    }
}
