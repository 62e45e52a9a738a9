//! What exchange and hub both reckon with when they speak of addresses that are to be blocked.
//!
//! - [`net`]: what a value names, and which prefixes may be listed at all
//! - [`PrefixSet`]: sorted ranges of addresses, for membership
//! - [`warninglist`]: MISP's lists of what is no indicator
//! - [`decay`]: how the word of a sighting fades, by MISP's polynomial
//! - [`change`]: what changed in a list, signed and chained; [`chain`]: who follows such a chain
//! - [`places`]: where an address is, by files in MaxMind's format
//!
//! Pure: this room reads no file, no clock, no environment, and makes no random number.

pub mod chain;
pub mod change;
pub mod decay;
mod hex;
pub mod net;
pub mod places;
mod prefixes;
mod signature;
pub mod warninglist;

pub use prefixes::PrefixSet;
pub use signature::{Digest, Hasher, PublicKey, Signer, TextError};
