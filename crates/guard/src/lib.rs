//! The privileged half: follows logs, asks the judge, moves the firewall, remembers.

pub mod firewall;
pub mod follow;
pub mod mark;
pub mod store;
