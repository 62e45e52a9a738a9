//! How a command ends: its exit code, and the one line that says why.

use std::fmt;

/// Exit codes, the same for every command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    /// Done.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// MISP, hub, daemon or firewall could not be reached or refused; or this machine did.
    OtherSide = 3,
    /// `--fail-on` found what it names.
    Found = 4,
}

/// A command that could not do its work.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) error: anyhow::Error,
}

/// What a command handler gives back.
pub(crate) type Outcome = Result<Code, Failed>;

impl Failed {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::Usage, error: error.into() }
    }

    /// Somebody else, or this machine, refused.
    pub(crate) fn other_side(error: impl Into<anyhow::Error>) -> Self {
        Self { code: Code::OtherSide, error: error.into() }
    }
}

impl fmt::Display for Failed {
    /// One line: what was being done, on what, why.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain: Vec<String> = self.error.chain().map(|cause| cause.to_string()).collect();
        out.write_str(&escape(&chain.join(": ")))
    }
}

/// Makes text that may come from a log harmless to a terminal: control characters are spelled.
pub(crate) fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|char| {
            let spelled = char.is_control().then(|| char.escape_default());
            let plain = spelled.is_none().then_some(char);
            spelled.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_all_causes() {
        let error = anyhow::anyhow!("no such\nfile").context("read `x`");
        assert_eq!(Failed::usage(error).to_string(), "read `x`: no such\\nfile");
    }

    #[test]
    fn control_characters_are_spelled() {
        assert_eq!(escape("a\u{1b}[31mü"), "a\\u{1b}[31mü");
    }
}
