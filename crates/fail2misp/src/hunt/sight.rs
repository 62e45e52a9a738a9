//! `--sight`: tells MISP of what was found, at the time that the logs say.

use anyhow::Result;
use exchange::{Report, spool};
use hunt::{Finding, Findings, Indicator};
use jail::{Ban, BanTime, Subject};

use crate::cli::Folders;
use crate::deliver;

/// The jail that such sightings come from: a destination takes them if it takes this jail.
const JAIL: &str = "hunt";

/// Puts what was found into the spool, from where it is delivered.
///
/// # Errors
///
/// When the spool does not take it.
pub(super) fn spool(folders: &Folders, findings: &Findings) -> Result<()> {
    let sorted = findings.sorted();
    let reports: Vec<_> = sorted.into_iter().filter_map(|(it, found)| report(it, found)).collect();
    spool::put(&folders.state, &reports)?;
    eprintln!("fail2misp: {} sightings are on their way to MISP", reports.len());
    // What is in the spool is safe, also where nobody delivers it yet.
    if let Err(error) = deliver::ensure(folders) {
        eprintln!("fail2misp: they wait in the spool; {error:#}");
    }
    Ok(())
}

/// An address or a prefix that was seen at a known time.
fn report(indicator: &Indicator, finding: &Finding) -> Option<Report> {
    let subject = match indicator {
        Indicator::Address(addr) => Subject::Addr(*addr),
        Indicator::Prefix(net) => Subject::Net(*net),
        Indicator::Fingerprint(_) | Indicator::User(_) => return None,
    };
    let (first, last) = (finding.first?, finding.last?);
    Some(Report::of(Ban {
        jail: JAIL.to_owned(),
        subject,
        time: last,
        bantime: BanTime::Seconds(0),
        n_failures: u32::try_from(finding.count).unwrap_or(u32::MAX),
        first_failure: first,
        last_failure: last,
        matches: finding.samples.iter().map(|it| it.lines[it.hit].clone()).collect(),
        fields: Vec::new(),
    }))
}
