#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::process::Command;

use control::block_list::BlockEntry;

use super::*;
use crate::firewall::Nft;
use crate::netns;

#[test]
fn what_others_took_out_of_the_lists_is_put_back() {
    netns::within(|| {
        let mut keeper =
            Keeper::new(Store::open(None).unwrap(), Nft::new().beside(), Limits::default());
        keeper.ignored = vec!["192.0.2.9/32".parse().unwrap()];
        let nets = ["192.0.2.1/32", "192.0.2.9/32", "198.51.100.0/24", "2001:db8::/48"];
        let entry = |net: &&str| BlockEntry { net: net.parse().unwrap(), until: None };
        let source = || "hub".to_owned();
        keeper.begin(source(), "1".to_owned(), None).unwrap();
        keeper.pending("hub").unwrap().add(nets.iter().map(entry).collect());
        keeper.answer(BlockListRequest::Commit { source: source() }).unwrap();
        let held = |keeper: &mut Keeper| -> Vec<String> {
            let held = keeper.firewall.banned().unwrap().remove("hub").unwrap_or_default();
            held.iter().map(IpNet::to_string).collect()
        };
        // Not whom a jail ignores.
        let want = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/48"];
        assert_eq!(held(&mut keeper), want);

        for (ruin, left) in [
            ("flush set inet fail2misp-lists addr4-hub.1", &want[1..]),
            ("flush set inet fail2misp-lists net4-hub.1", &["192.0.2.1/32", "2001:db8::/48"]),
            ("add element inet fail2misp-lists addr4-hub.1 { 203.0.113.1 }", &[]),
            ("flush ruleset", &[]),
        ] {
            assert!(Command::new("nft").args(ruin.split(' ')).status().unwrap().success());
            if !left.is_empty() {
                assert_eq!(held(&mut keeper), left, "{ruin}");
            }
            keeper.looked = keeper.looked.checked_sub(LOOK_EVERY).unwrap();
            keeper.look_after();
            assert_eq!(held(&mut keeper), want, "{ruin}");
        }
    });
}
