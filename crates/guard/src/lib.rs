//! The privileged half: follows logs, asks the judge, moves the firewall, remembers.

pub mod firewall;
