//! `--sight`: tells MISP of what was found, at the time that the logs say.

use anyhow::Result;
use exchange::{Past, Report, spool};
use hunt::{Finding, Findings, Indicator};
use jail::Subject;

use crate::cli::Folders;
use crate::deliver;

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
    Some(Report::of_the_past(Past { subject, n_lines: finding.count, first, last }))
}
