//! Runs lines through scanners and holds what comes out to what every filter promises.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use scan::{
    Filter, Hit, IdKind, Outcome, Pass, Reach, Scanner, Settings, Skimmed, Statistics, Told,
};

/// When the first line is read: 2026-03-01 12:00:00 UTC.
const NOW: i64 = 1_772_366_400;
/// What lies between two lines: a connection is forgotten after fifteen of them.
const STEP: SignedDuration = SignedDuration::from_secs(20);
/// The longest line, and how many of them are looked at.
const LONGEST_LINE: usize = 4096;
const MOST_LINES: usize = 64;
/// Runs before a slow line is believed to be slow by itself: others use the machine, too.
const MOST_RUNS: usize = 5;
/// Searches that one line may exceed the match limit with, at the most: for its date, and for what
/// failed.
const MOST_EXCEEDED: u64 = 6 + 6;
/// Lines that a failure may be made of, at the most.
const MOST_MATCHES: usize = 200;

/// A line of an input; its date is known where it began with `@EPOCH `.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// Cuts an input into lines.
pub(crate) fn lines(input: &[u8]) -> Vec<Line<'_>> {
    let mut now = Timestamp::from_second(NOW).expect("it is a moment of this century");
    let lines = input.split(|byte| *byte == b'\n').take(MOST_LINES);
    lines
        .map(|line| {
            now = now.saturating_add(STEP).expect("a few minutes can be added");
            let (text, at) = dated(line).map_or((line, None), |(text, at)| (text, Some(at)));
            Line { text: &text[..text.len().min(LONGEST_LINE)], at, now }
        })
        .collect()
}

fn dated(line: &[u8]) -> Option<(&[u8], Timestamp)> {
    let rest = line.strip_prefix(b"@")?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    let second = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((&rest[end + 1..], Timestamp::from_second(second).ok()?))
}

/// What one scanner made of some lines.
struct Run {
    outcomes: Vec<Outcome>,
    /// How long each line took.
    took: Vec<Duration>,
    counted: Statistics,
}

fn run(filter: &Arc<Filter>, settings: &Settings, lines: &[Line<'_>]) -> Run {
    let mut scanner = Scanner::new(Arc::clone(filter), settings.clone());
    let timed = lines.iter().map(|line| {
        let start = Instant::now();
        let outcome = match line.at {
            Some(at) => scanner.dated_line(line.text, at, line.now),
            None => scanner.line(line.text, line.now),
        };
        (outcome, start.elapsed())
    });
    let (outcomes, took) = timed.unzip();
    let counted = scanner.statistics();
    assert_eq!(counted.n_lines, lines.len() as u64);
    assert!(counted.n_exceeded <= MOST_EXCEEDED * counted.n_lines);
    Run { outcomes, took, counted }
}

/// Scans `lines`, asserts what holds for every filter, and returns what became of them.
///
/// - The same lines have the same outcomes.
/// - No line takes longer than `limit`.
/// - Every failure keeps the promises of [`Hit`].
/// - Who looks at a line with every expression finds first what [`Scanner::line`] does.
/// - Who skims them as a piece of a log finds what one finds who looks at them one by one.
pub(crate) fn check(
    filter: &Arc<Filter>,
    settings: &Settings,
    lines: &[Line<'_>],
    limit: Duration,
) -> Vec<Outcome> {
    let Run { outcomes, mut took, .. } = run(filter, settings, lines);
    for n_runs in 2..=MOST_RUNS {
        let again = run(filter, settings, lines);
        assert_eq!(outcomes, again.outcomes, "the same lines, other outcomes");
        took.iter_mut().zip(again.took).for_each(|(took, this)| *took = this.min(*took));
        let slowest = took.iter().max().copied().unwrap_or_default();
        if slowest <= limit {
            break;
        }
        assert!(n_runs < MOST_RUNS, "a line takes {slowest:?}, which is more than {limit:?}");
    }
    for (line, outcome) in lines.iter().zip(&outcomes) {
        check_outcome(filter, line, outcome);
    }
    if let Some(outcome) = outcomes.first() {
        check_every(filter, settings, lines, outcome);
    }
    check_skim(filter, settings, lines);
    outcomes
}

/// Skims the lines in two pieces, and asserts that they have the outcomes that they have alone.
fn check_skim(filter: &Arc<Filter>, settings: &Settings, lines: &[Line<'_>]) {
    let Some(Line { now, .. }) = lines.first() else { return };
    let now = *now;
    for reach in [Reach::First, Reach::Every] {
        let mut alone = Scanner::new(Arc::clone(filter), settings.clone());
        let mut skimming = Scanner::new(Arc::clone(filter), settings.clone());
        let (mut skimmer, mut skimmed) = (skimming.skimmer(reach), Skimmed::default());
        for lines in lines.chunks(lines.len().div_ceil(2)) {
            let piece: Vec<u8> =
                lines.iter().flat_map(|line| [line.text, b"\n"].concat()).collect();
            let mut found = Vec::new();
            skimmer.skim(&piece, skimming.form(), now, &mut skimmed);
            let settled = skimming.settle(&piece, &skimmed, |told| {
                match told {
                    Told::Missed { n_lines, .. } => found.extend((0..n_lines).map(|_| Vec::new())),
                    Told::Line { outcomes, .. } => found.push(outcomes.clone()),
                }
                Ok::<_, Infallible>(())
            });
            settled.unwrap_or_else(|error| match error {});
            let one_by_one = lines.iter().map(|line| match reach {
                Reach::Every => alone.every(line.text, None, now),
                Reach::First => match alone.line(line.text, now) {
                    Outcome::Missed => Vec::new(),
                    outcome => vec![outcome],
                },
            });
            assert_eq!(found, one_by_one.collect::<Vec<_>>(), "a skim finds something else");
        }
        assert_eq!(skimming.statistics(), alone.statistics());
    }
}

/// Asserts that each filter of a pass finds what it finds alone.
pub(crate) fn check_pass(filters: &[Arc<Filter>], settings: &Settings, lines: &[Line<'_>]) {
    let members = filters.iter().map(|filter| (Arc::clone(filter), settings.clone())).collect();
    let mut pass = Pass::new(members);
    let mut found = vec![vec![Outcome::Missed; lines.len()]; filters.len()];
    for (number, line) in lines.iter().enumerate() {
        let told = |place: usize, outcome| found[place][number] = outcome;
        match line.at {
            Some(at) => pass.dated_line(line.text, at, line.now, told),
            None => pass.line(line.text, line.now, told),
        }
    }
    for (place, (filter, found)) in filters.iter().zip(found).enumerate() {
        let alone = run(filter, settings, lines);
        assert_eq!(found, alone.outcomes, "filter {place} finds something else alone");
        assert_eq!(pass.statistics(place), alone.counted);
    }
}

/// Asserts that two filters find the same, unless one of them gave up a search.
pub(crate) fn check_alike(filters: [&Arc<Filter>; 2], settings: &Settings, lines: &[Line<'_>]) {
    let [one, other] = filters.map(|filter| run(filter, settings, lines));
    if one.counted.n_exceeded == 0 && other.counted.n_exceeded == 0 {
        assert_eq!(one.outcomes, other.outcomes, "the one finds something else than the other");
    }
}

fn check_outcome(filter: &Filter, line: &Line<'_>, outcome: &Outcome) {
    let spec = filter.spec();
    match outcome {
        Outcome::Failure(hit) => check_hit(filter, line, hit),
        Outcome::Pending { failregex } | Outcome::Remembered { failregex } => {
            assert!(*failregex < spec.failregex.len());
        }
        Outcome::Ignored(index) => assert!(*index < spec.ignoreregex.len()),
        Outcome::Missed => {}
    }
}

fn check_hit(filter: &Filter, line: &Line<'_>, hit: &Hit) {
    assert!(hit.failregex < filter.spec().failregex.len());
    assert!(hit.n_attempts >= 1);
    match line.at {
        Some(at) => assert!(hit.dated && hit.time == at, "a known date is not believed"),
        None => assert!(hit.dated || hit.time == line.now, "neither a date nor now"),
    }
    if hit.kind == IdKind::Address {
        check_address(&hit.id);
    }
    assert!(hit.matches.len() <= MOST_MATCHES, "{} lines for one failure", hit.matches.len());
    assert!(hit.matches.iter().all(|line| !line.contains('\n')), "two lines in one");
    for (index, (name, text)) in hit.fields.iter().enumerate() {
        assert!(!text.is_empty(), "field `{name}` is empty");
        assert!(hit.fields[..index].iter().all(|(other, _)| other != name), "`{name}` is twice");
    }
}

/// An address is in its canonical form: nothing before or behind it, no host bits in a prefix.
fn check_address(id: &str) {
    let (addr, prefix): (_, Option<u32>) = match id.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix.parse().expect("a prefix has a length"))),
        None => (id, None),
    };
    let addr: IpAddr = addr.parse().expect("an address is one");
    let (bits, whole) = match addr {
        IpAddr::V4(addr) => (u128::from(addr.to_bits()) << 96, 32),
        IpAddr::V6(addr) => (addr.to_bits(), 128),
    };
    match prefix {
        Some(prefix) => {
            assert!((1..whole).contains(&prefix), "`{id}` is no prefix");
            assert_eq!(bits << prefix, 0_u128, "`{id}` has bits behind its prefix");
        }
        None => assert_eq!(addr, addr.to_canonical(), "`{id}` is an IPv4 address"),
    }
}

/// Looks at the lines with every expression; on the first one both ways begin alike.
fn check_every(filter: &Arc<Filter>, settings: &Settings, lines: &[Line<'_>], first: &Outcome) {
    let run = || {
        let mut scanner = Scanner::new(Arc::clone(filter), settings.clone());
        lines.iter().map(|line| scanner.every(line.text, line.at, line.now)).collect::<Vec<_>>()
    };
    let outcomes = run();
    assert_eq!(outcomes, run(), "the same lines, other outcomes");
    for (line, outcomes) in lines.iter().zip(&outcomes) {
        for outcome in outcomes {
            check_outcome(filter, line, outcome);
        }
    }
    match (first, outcomes[0].first()) {
        (Outcome::Missed, found) => assert_eq!(found, None, "missed, and yet found"),
        // Of several that ignore, another is told.
        (Outcome::Ignored(_), found) => assert!(matches!(found, Some(Outcome::Ignored(_)))),
        (outcome, found) => assert_eq!(Some(outcome), found, "another finds it first"),
    }
}
