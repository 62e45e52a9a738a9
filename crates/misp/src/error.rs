//! Why a call did not do what it was for, told apart by who must act.

use std::time::Duration;

use crate::text::short;
use crate::wire::FieldErrors;

/// Why a call to MISP failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MispError {
    /// The administrator must act: the same call fails until configuration, key or rights change.
    #[error("{call} of {url}: {why}")]
    Misconfigured {
        /// What was called: `attributes/add`.
        call: &'static str,
        /// The server.
        url: String,
        /// What is wrong, and the remedy.
        why: Misconfigured,
    },
    /// The item is wrong: it will be refused each time, whatever else happens.
    #[error("{call} of {url}: {why}")]
    Refused {
        /// What was called.
        call: &'static str,
        /// The server.
        url: String,
        /// What MISP has against it.
        why: Refusal,
    },
    /// Nobody needs to act: MISP is away, busy or broken. The same call works later.
    #[error("{call} of {url}: {why}")]
    Later {
        /// What was called.
        call: &'static str,
        /// The server.
        url: String,
        /// What happened.
        why: Outage,
    },
}

/// What an administrator has to mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misconfigured {
    /// The URL cannot be called.
    #[error("`{0}` is no address of a server; give it as https://HOST")]
    Url(String),
    /// The key cannot be sent.
    #[error("the key holds characters that no key has; look at its file")]
    KeyText,
    /// A certificate, key or proxy that was configured cannot be used.
    #[error("`{option}` cannot be used ({why}); look at what it names")]
    Option {
        /// The option of the configuration.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The system's own certificates, or the like, cannot be used.
    #[error("{0}")]
    Transport(String),
    /// MISP sends us elsewhere: it is in maintenance, or the URL is not its own.
    #[error(
        "it sends us to `{location}`: the URL is not that of the server itself, or MISP is in \
         maintenance (MISP.live)"
    )]
    Redirected {
        /// Where to.
        location: String,
    },
    /// MISP does not know the key, or its user is disabled.
    #[error("the key is not accepted ({0}); make one at MISP under `My Profile`, `Auth keys`")]
    Key(String),
    /// The key may not do this.
    #[error("the key may not do this ({0}); give its role the right, or use another key")]
    NoRight(String),
    /// The event is not there, or the key may not see it.
    #[error("there is no such event for this key ({0}); look at the configured event")]
    NoEvent(String),
    /// The attribute is not there any more, or the key may not see it.
    #[error("there is no such attribute for this key ({0}); was it deleted?")]
    NoAttribute(String),
    /// The event was deleted, and MISP's blocklist keeps it from coming back.
    #[error("the event was deleted and is on MISP's blocklist ({0})")]
    EventBlocked(String),
    /// The server knows no such call: it is too old, or no MISP.
    #[error("the server does not know this call ({0}); is it a MISP, and a recent one?")]
    NoSuchCall(String),
    /// It refuses the call as a whole, for a reason of its own.
    #[error("it refuses the call ({0})")]
    Denied(String),
    /// The server's certificate is not trusted.
    #[error("its certificate is not trusted ({0}); name the authority in `ca_file`")]
    Certificate(String),
    /// The server asks for a certificate of ours, or does not trust the one it got.
    #[error(
        "it does not let us in without a certificate that it trusts ({0}); name ours, with its \
         key, in `client_file`"
    )]
    ClientCertificate(String),
}

/// What MISP has against one item.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The value is in the event already, under whatever uuid.
    #[error("the value is in the event already")]
    Duplicate,
    /// The value is not there, but its uuid is: an analyst deleted the attribute.
    #[error("its uuid is taken: an analyst deleted the attribute")]
    UuidTaken,
    /// It is on a warninglist that MISP enforces.
    #[error("it is on an enforced warninglist: {0}")]
    Warninglist(String),
    /// Anything else that MISP says of the item's fields.
    #[error("{0}")]
    Invalid(String),
}

/// Why MISP did not answer as it should, though nothing is wrong with us.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Outage {
    /// No connection.
    #[error("cannot be reached ({0})")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The answer broke off.
    #[error("the answer broke off ({0})")]
    CutShort(String),
    /// Too many calls.
    #[error("too many calls{}", retry_words(*.retry_after))]
    RateLimited {
        /// How long MISP asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The body is larger than the server, or what stands before it, takes.
    #[error("the request is too large for the server (413)")]
    TooLarge,
    /// The server is broken, or something before it is.
    #[error("it answers {status} ({text})")]
    Broken {
        /// The status.
        status: u16,
        /// What it says, shortened.
        text: String,
    },
    /// Something that is no MISP answered in its place: a proxy, a captive portal.
    #[error("the answer is no MISP's ({status}, {content_type}); does a proxy stand before it?")]
    NotMisp {
        /// The status.
        status: u16,
        /// What it claims to be.
        content_type: String,
    },
    /// The answer does not account for what was sent.
    #[error("the answer does not account for what was sent ({0})")]
    Unaccounted(String),
}

fn retry_words(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!("; it asks to wait {} s", wait.as_secs())).unwrap_or_default()
}

impl Refusal {
    /// MISP's word for a value that is in the event already (2.5.1; the seed script greps for it).
    pub const DUPLICATE: &str = "A similar attribute already exists for this event";
    /// MISP's word for a uuid that is taken, also by a deleted attribute (2.5.1).
    pub const UUID_TAKEN: &str = "The UUID provided is not unique";
    /// MISP's word for a value on a warninglist (2.5.1).
    pub const WARNINGLIST: &str = "trips over a warninglist";

    /// Reads what MISP has against an item.
    pub fn of(errors: &FieldErrors) -> Self {
        let says = |word: &str| errors.0.values().flatten().any(|text| text.contains(word));
        // A repeat of our own attribute is both: the value is there, and so is its uuid.
        if says(Self::DUPLICATE) {
            Self::Duplicate
        } else if says(Self::UUID_TAKEN) {
            Self::UuidTaken
        } else if says(Self::WARNINGLIST) {
            Self::Warninglist(short(&errors.to_string()))
        } else {
            Self::Invalid(short(&errors.to_string()))
        }
    }
}
