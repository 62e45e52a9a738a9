//! The privileged half: follows logs, asks the judge, moves the firewall, remembers.
//!
//! | module | owns | thread |
//! |---|---|---|
//! | [`follow`] | log files through rotation | `guard-follow` |
//! | [`journal`] | the systemd journal | `guard-journal`, one a query |
//! | `reader` | lines to failures; names to addresses | `guard-follow`, `guard-names` |
//! | `scanners` | the filters of a log at work | `guard-follow`, `guard-journal` |
//! | `seek` | where a log begins to matter | `guard-follow` |
//! | `docker` | the lines that docker keeps | `guard-follow` |
//! | `readers` | the threads of those, their change and end | |
//! | `roster` | the jails as they are in force: reload, stop, `get` and `set` | one a connection |
//! | `ready`, `option` | one jail: compiled; its options, asked and changed | |
//! | `event` | what the others send to the one inbox | |
//! | `batch` | failures on their way there | |
//! | `run` | the loop around that inbox: judge, firewall, store, log | `guard` |
//! | `feed` | word of new bans for those who follow them | |
//! | `answer` | the control socket | one a connection |
//! | `command` | the commands of `action.d` that guard does not do itself | `guard-actions`, one a jail |
//! | [`firewall`] | the bans in the kernel | `guard` |
//! | `block_list` | what exchange wants blocked: in the kernel, on the disk | `guard-lists` |
//! | `look_back` | the one search of old logs that goes on | `guard-look-back` |
//! | [`store`] | the bans on the disk | `guard` |
//!
//! They do not know each other; they meet in the loop. [`Guard::start`] starts it all.

pub mod addresses;
mod allocator;
mod answer;
mod batch;
mod block_list;
mod clock;
mod command;
mod docker;
mod event;
mod feed;
pub mod firewall;
pub mod follow;
mod ignore_file;
pub mod journal;
mod look_back;
pub mod mark;
#[cfg(test)]
#[path = "../tests/netns/mod.rs"]
mod netns;
mod option;
mod pages;
mod program;
mod reader;
mod readers;
mod ready;
mod roster;
mod run;
mod scanners;
mod seek;
mod start;
mod start_error;
pub mod store;
mod words;

pub use block_list::Limits;
pub use clock::Clock;
pub use command::Actions;
pub use firewall::{Firewall, FirewallError, Ipset, Memory, Nft};
pub use look_back::{Followed, LookBack};
pub use program::Program;
pub use start::{Guard, Reloader, Setup, Stopper};
pub use start_error::StartError;
pub use store::StoreError;
