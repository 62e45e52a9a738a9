//! SHA-256 digests, Ed25519 keys and signatures, as texts of hexadecimal digits on wires and disks.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::hex;

/// What is signed begins with this, so that a signature of a change can mean nothing else.
const DOMAIN: &[u8] = b"fail2misp change record 1\n";

/// A SHA-256.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A public key that a signer is known by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// A text that holds no 32 bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not 64 hexadecimal digits")]
pub struct TextError(String);

/// Digests what comes in pieces.
#[derive(Clone)]
pub struct Hasher(digest::Context);

/// Signs with a private key.
pub struct Signer(Ed25519KeyPair);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hasher(…)")
    }
}

impl Hasher {
    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was given.
    pub fn finish(self) -> Digest {
        let digest = self.0.finish();
        Digest(digest.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }
}

impl PublicKey {
    /// Whether `signature` is this key's, of `body`.
    pub(crate) fn verifies(self, body: &[u8], signature: &str) -> bool {
        let Some(signature) = hex::read::<64>(signature) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(&[DOMAIN, body].concat(), &signature).is_ok()
    }
}

impl Signer {
    /// The signer whose private key is `seed`: 32 random bytes.
    ///
    /// # Panics
    ///
    /// Never: every 32 bytes are a key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a key"))
    }

    /// What others know it by.
    pub fn public_key(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("an Ed25519 key has 32 bytes"))
    }

    pub(crate) fn sign(&self, body: &[u8]) -> String {
        hex::write(self.0.sign(&[DOMAIN, body].concat()).as_ref())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({})", self.public_key())
    }
}

/// Reads and writes a type of 32 bytes as hexadecimal digits.
macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&hex::write(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                hex::read(text).map(Self).ok_or_else(|| TextError(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    };
}

as_text!(Digest);
as_text!(PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let (ours, theirs) = (Signer::from_seed(&[7; 32]), Signer::from_seed(&[8; 32]));
        let signature = ours.sign(b"text");
        assert!(ours.public_key().verifies(b"text", &signature));
        assert!(!ours.public_key().verifies(b"Text", &signature));
        assert!(!theirs.public_key().verifies(b"text", &signature));
        assert!(!ours.public_key().verifies(b"text", ""));
    }

    #[test]
    fn texts() {
        let key = Signer::from_seed(&[7; 32]).public_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("abc".parse::<Digest>(), Err(TextError("abc".to_owned())));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
    }
}
