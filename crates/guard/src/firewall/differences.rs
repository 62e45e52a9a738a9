//! What others made different in a firewall, and how it is undone.

use std::cmp::Ordering;
use std::time::Duration;

use ipnet::IpNet;

use super::Change;

/// A ban that ends within this may have ended in the kernel already.
const ENDING: Duration = Duration::from_secs(5);

/// What makes a firewall whose jail holds `held` hold `bans` and nothing else; both are in order.
pub(crate) fn differences(
    jail: &str,
    bans: impl IntoIterator<Item = (IpNet, Option<Duration>)>,
    held: &[IpNet],
) -> Vec<Change> {
    let (mut bans, mut held) = (bans.into_iter().peekable(), held.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (bans.peek(), held.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((net, _)), Some(held)) => net.cmp(held),
        };
        match order {
            Ordering::Less => {
                let is_ending = |left: Option<Duration>| left.is_some_and(|left| left < ENDING);
                let missing = bans.next().filter(|(_, timeout)| !is_ending(*timeout));
                changes.extend(missing.map(|(target, timeout)| Change::Ban {
                    jail: jail.to_owned(),
                    target,
                    timeout,
                }));
            }
            Ordering::Equal => _ = (bans.next(), held.next()),
            Ordering::Greater => {
                let jail = jail.to_owned();
                changes.extend(held.next().map(|&target| Change::Unban { jail, target }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_others_changed() {
        let net = |text: &str| text.parse::<IpNet>().expect("a prefix");
        let (long, short) = (Some(Duration::from_secs(600)), Some(Duration::from_secs(1)));
        let bans = [
            (net("192.0.2.1/32"), long),
            (net("192.0.2.2/32"), short), // may have ended
            (net("192.0.2.9/32"), None),
            (net("198.51.100.0/24"), None),
        ];
        let held = [net("192.0.2.9/32"), net("203.0.113.1/32")];
        let jail = || "sshd".to_owned();
        assert_eq!(
            differences("sshd", bans, &held),
            [
                Change::Ban { jail: jail(), target: net("192.0.2.1/32"), timeout: long },
                Change::Ban { jail: jail(), target: net("198.51.100.0/24"), timeout: None },
                Change::Unban { jail: jail(), target: net("203.0.113.1/32") },
            ]
        );
    }
}
