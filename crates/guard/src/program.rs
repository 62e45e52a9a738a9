//! What guard needs of the program around it: the configuration, read anew, and the log.

use std::fmt::Debug;

use control::config::ServerOption;
use control::guard::DisabledJail;
use jail::config::Jail;
use serde_json::Value;

/// The program around guard, as far as an operator may ask guard for it.
pub trait Program: Debug + Send + Sync {
    /// Reads the jails again: those that can start, and why the others cannot.
    ///
    /// # Errors
    ///
    /// Says why nothing can be read at all.
    fn jails(&self) -> Result<(Vec<Jail>, Vec<DisabledJail>), String>;

    /// What was read last is in force now: time for what else it says.
    fn follow_jails(&self);

    /// An option of the daemon, as fail2ban would answer.
    fn option(&self, option: ServerOption) -> Value;

    /// Changes an option of the daemon until it ends.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the value, or that the option stays what it is.
    fn set_option(&self, option: ServerOption, value: &str) -> Result<(), String>;

    /// Opens the log's file anew, after a rotation; returns fail2ban's word for what was done.
    fn flush_logs(&self) -> &'static str;

    /// Asks the program to end in order.
    ///
    /// # Errors
    ///
    /// Says why it cannot be asked.
    fn stop(&self) -> Result<(), String>;
}
