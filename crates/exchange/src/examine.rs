//! Examines a destination without changing anything there: whether it can be reached, what the key
//! may do, whether event and tags are there, and what would bite later. Each fault has its remedy.

use jiff::Timestamp;
use misp::wire::{Me, Tag};
use misp::{Call, Client, Misconfigured, MispError, Outage};

use crate::connect::Connection;
use crate::destination::{Destination, EventChoice, HARD_MAX_ATTRIBUTES, Publish};

/// A clock that is further off than this makes sightings of the future, and pulls that miss some.
const MAX_SKEW_SECONDS: i64 = 30;
/// Before this release MISP has no call for many sightings at once (bulkSaveSightings).
const OLDEST_VERSION: (u32, u32) = (2, 5);

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what to do about it.
    pub text: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and somebody should know.
    Note,
    /// It does not work.
    Fault,
}

impl Finding {
    /// All is well.
    pub fn fine(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fine, text: text.into() }
    }

    /// It works, and somebody should know.
    pub fn note(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, text: text.into() }
    }

    /// It does not work.
    pub fn fault(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fault, text: text.into() }
    }
}

/// Looks at all of a destination; no further than to a server that does not answer.
pub fn examine(destination: &Destination, now: Timestamp) -> Vec<Finding> {
    let mut connection = Connection::default();
    let client = match connection.client(destination) {
        Ok(client) => client,
        Err(error) => return vec![Finding::fault(error.to_string())],
    };
    let mut findings = transport(destination);
    match server(client, now) {
        Ok(found) => findings.extend(found),
        Err(error) => {
            findings.push(Finding::fault(unreachable(&error)));
            return findings;
        }
    }
    match client.me() {
        Ok(me) => {
            findings.extend(rights(destination, client, &me));
            findings.extend(tags(destination, client, &me));
        }
        Err(error) => findings.push(Finding::fault(error.to_string())),
    }
    findings.push(event(destination, client));
    findings.push(warninglists(client));
    findings
}

fn transport(destination: &Destination) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !destination.transport.verify {
        findings.push(Finding::note(
            "`verify = false`: whoever is in between can read the key; name the authority in \
             `ca_file` instead",
        ));
    }
    let host = destination.url.strip_prefix("http://");
    let is_here = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|it| host.starts_with(it));
    if host.is_some_and(|host| !is_here(host)) {
        findings.push(Finding::note("the key travels readable; write the url with https"));
    }
    findings
}

fn server(client: &Client, now: Timestamp) -> Result<Vec<Finding>, MispError> {
    let version = client.version()?;
    let mut findings = vec![match parsed(&version.version) {
        Some(parsed) if parsed < OLDEST_VERSION => Finding::note(format!(
            "it answers as MISP {}; sightings go one value at a time before {}.{}, update it",
            version.version, OLDEST_VERSION.0, OLDEST_VERSION.1
        )),
        _ => Finding::fine(format!("it answers as MISP {}", version.version)),
    }];
    if let Some(clock) = version.clock {
        let ahead = clock.as_second() - now.as_second();
        findings.push(match ahead.abs() > MAX_SKEW_SECONDS {
            true => Finding::fault(format!(
                "its clock is {} s {} ours; set both by NTP (`timedatectl set-ntp true`)",
                ahead.abs(),
                if ahead > 0 { "ahead of" } else { "behind" },
            )),
            false => Finding::fine("its clock agrees with ours"),
        });
    }
    Ok(findings)
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn unreachable(error: &MispError) -> String {
    let remedy = match error {
        MispError::Later { why: Outage::Unreachable(_) | Outage::TimedOut(_), .. } => {
            "; is it up, is the url right, and does a firewall let us through?"
        }
        // The others name their remedy themselves.
        _ => "",
    };
    format!("{error}{remedy}")
}

/// What the key may do, of all that is asked of it.
fn rights(destination: &Destination, client: &Client, me: &Me) -> Vec<Finding> {
    let role = &me.role;
    let mut wanted = vec![("add attributes", "perm_add", role.perm_add)];
    if destination.publish != Publish::Never {
        wanted.push(("publish events", "perm_publish", role.perm_publish));
    }
    if destination.sightings || destination.expirations {
        wanted.push(("add sightings", "perm_sighting", role.perm_sighting));
    }
    let is_tagged = destination.template.tags.as_ref().is_none_or(|tags| !tags.is_empty());
    if is_tagged && !matches!(destination.event, EventChoice::Fixed(_)) {
        wanted.push(("attach tags", "perm_tagger", role.perm_tagger));
    }
    let lacks = |(what, right, has): &(&str, &str, Option<bool>)| {
        (*has == Some(false)).then(|| {
            Finding::fault(format!(
                "the role `{}` may not {what} ({right}); give {} another role at MISP, or use \
                 another key",
                role.name, me.user.email
            ))
        })
    };
    let mut findings: Vec<_> = wanted.iter().filter_map(lacks).collect();
    if findings.is_empty() {
        findings.push(match may_write(client) {
            Ok(()) => Finding::fine(format!("the key of {} may do what it must", me.user.email)),
            Err(error) => Finding::fault(format!("the key is for reading only? {error}")),
        });
    }
    if role.perm_site_admin == Some(true) {
        findings.push(Finding::note(format!(
            "{} is a site administrator: whoever reads the key owns the server; make a user with \
             the role `Publisher` for it",
            me.user.email
        )));
    }
    findings
}

/// A key may be for reading only while its user's role is not. No attributes for no event are
/// refused for the event, unless the key may not write at all.
fn may_write(client: &Client) -> Result<(), MispError> {
    match client.check(&Call::add_attributes("0", &[])) {
        Err(error @ MispError::Misconfigured { why: Misconfigured::NoRight(_), .. }) => Err(error),
        _ => Ok(()),
    }
}

fn tags(destination: &Destination, client: &Client, me: &Me) -> Vec<Finding> {
    let wanted = destination.wanted_tags();
    if wanted.is_empty() {
        return Vec::new();
    }
    let there = match client.tags() {
        Ok(there) => there,
        Err(error) => return vec![Finding::fault(error.to_string())],
    };
    let is_there =
        |name: &str| there.iter().any(|Tag { name: it, .. }| it.eq_ignore_ascii_case(name));
    let missing: Vec<_> = wanted.into_iter().filter(|name| !is_there(name)).collect();
    let makes_them = me.role.perm_tag_editor != Some(false);
    let told = |name: &String| match makes_them {
        true => Finding::note(format!("the tag `{name}` is not there yet; it is made when needed")),
        false => Finding::fault(format!(
            "the tag `{name}` is not there, and the key may not make it (perm_tag_editor); enable \
             its taxonomy at MISP, make the tag, or take it out of `tags`"
        )),
    };
    match missing.is_empty() {
        true => vec![Finding::fine("all tags are there")],
        false => missing.iter().map(told).collect(),
    }
}

fn event(destination: &Destination, client: &Client) -> Finding {
    let EventChoice::Fixed(name) = &destination.event else {
        return Finding::fine(format!("a new event each period: {}", destination.event));
    };
    match client.event(name) {
        Err(MispError::Misconfigured { why: Misconfigured::NoEvent(_), .. }) => {
            Finding::fault(format!(
                "there is no event `{name}`, or the key may not see it; look at its number or uuid \
                 at MISP, and at `event` (`misp_event`)"
            ))
        }
        Err(error) => Finding::fault(error.to_string()),
        Ok(found) => match found.attribute_count {
            Some(n) if n >= HARD_MAX_ATTRIBUTES => Finding::note(format!(
                "event `{name}` holds {n} attributes, which makes MISP slow; use another event, or \
                 `event = \"daily\"`"
            )),
            _ if found.published != Some(true) && destination.publish == Publish::AsBefore => {
                Finding::note(format!(
                    "event `{name}` is not published and stays so: partners do not see it; publish \
                     it once, or say `publish = \"always\"`"
                ))
            }
            _ => Finding::fine(format!(
                "event `{name}` is there: {}",
                misp::text::short(&found.info)
            )),
        },
    }
}

fn warninglists(client: &Client) -> Finding {
    match client.warninglists() {
        Ok(lists) if lists.is_empty() => Finding::note(
            "no warninglist is switched on: resolvers and the like are shared as attackers; switch \
             some on at MISP under `Input Filters`, `Warninglists`",
        ),
        Ok(lists) => Finding::fine(format!("{} warninglists are switched on", lists.len())),
        Err(MispError::Misconfigured { why: Misconfigured::NoSuchCall(_), .. }) => Finding::note(
            "it has no warninglists; only private and reserved addresses are held back",
        ),
        Err(error) => Finding::note(format!("its warninglists cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parsed("2.5.1"), Some((2, 5)));
        assert!(parsed("2.4.198") < Some(OLDEST_VERSION));
        assert!(parsed("2.10.0") > Some(OLDEST_VERSION));
        assert_eq!(parsed("unknown"), None);
    }
}
