//! The programs that move a firewall: nft, ipset, iptables-restore and their kin.

use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};

use super::FirewallError;

/// Where such programs are when PATH, as an ordinary user's, lacks it.
const FOLDER: &str = "/usr/sbin";

/// What a program says is cut to this in an error; nft repeats the whole statement under each
/// complaint.
const MAX_SAID: usize = 300;

/// What a program says when the kernel refuses for want of rights.
const DENIALS: [&str; 2] = ["Operation not permitted", "Permission denied"];

/// A program that moves a firewall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// Its name.
    pub(super) name: &'static str,
    /// What to install where it is missing.
    pub(super) package: &'static str,
}

impl Program {
    /// Runs it with `script` as its standard input, and returns its standard output.
    pub(super) fn run(self, args: &[&str], script: &str) -> Result<Vec<u8>, FirewallError> {
        let mut child = self.spawn(args)?;
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        // They read the whole script before they answer, so writing first cannot block for ever; if
        // one ended early, its exit status says why.
        let written = stdin.write_all(script.as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(written.map(|()| output.stdout)?);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if DENIALS.iter().any(|it| said.contains(it)) {
            return Err(FirewallError::Denied);
        }
        let first = said.lines().find(|line| !is_remark(line)).unwrap_or("nothing");
        Err(FirewallError::Refused { said: first.chars().take(MAX_SAID).collect() })
    }

    /// Whether it is there and may do its work: `args` ask for something that changes nothing.
    pub(super) fn works(self, args: &[&str]) -> Result<(), FirewallError> {
        self.run(args, "").map(drop)
    }

    fn spawn(self, args: &[&str]) -> Result<Child, FirewallError> {
        for program in [self.name.to_owned(), format!("{FOLDER}/{}", self.name)] {
            let child = Command::new(program)
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            match child {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                child => return Ok(child?),
            }
        }
        Err(FirewallError::Missing { program: self.name, package: self.package })
    }
}

/// Whether a line is no reason: iptables-nft remarks on tables of iptables-legacy.
fn is_remark(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}
