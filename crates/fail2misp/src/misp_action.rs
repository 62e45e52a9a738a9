//! The article's four options: what fail2ban's action `misp` says of one destination.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use exchange::{Addressee, keys};
use secrecy::SecretString;

/// The name of the action, and of its file in `action.d`.
pub(crate) const NAME: &str = "misp";

/// What the article says a key is before one was put there.
const PLACEHOLDER: &str = "YOUR_AUTH_KEY_HERE";

/// One destination as the action names it.
#[derive(Debug)]
pub(crate) struct MispAction {
    pub(crate) url: String,
    pub(crate) event: String,
    pub(crate) sightings: bool,
    pub(crate) key: Key,
}

/// Where the API key is.
#[derive(Debug)]
pub(crate) enum Key {
    /// In a file of its own.
    File(PathBuf),
    /// In the configuration, or among the article's five arguments.
    Inline(SecretString),
}

impl MispAction {
    /// Where reports go; a key that stands in the configuration is put where only exchange reads it.
    ///
    /// # Errors
    ///
    /// When the key cannot be written.
    pub(crate) fn into_addressee(self, state: &Path) -> Result<Addressee> {
        let key_file = match self.key {
            Key::File(path) => path,
            Key::Inline(key) => keys::put(state, &self.url, &self.event, &key)?,
        };
        Ok(Addressee { url: self.url, event: self.event, sightings: self.sightings, key_file })
    }
}

/// Reads `misp_base_url`, `misp_event`, `misp_sight`, and `misp_key_file` or `misp_auth_key`.
///
/// # Errors
///
/// Names the option that is missing or cannot be right.
pub(crate) fn read(options: &BTreeMap<String, String>) -> Result<MispAction> {
    let option = |name: &str| options.get(name).map(|it| it.trim()).filter(|it| !it.is_empty());
    let required = |name: &str| {
        option(name).map(str::to_owned).ok_or_else(|| anyhow::anyhow!("`{name}` is not set"))
    };
    let url = required("misp_base_url")?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        bail!("`misp_base_url = {url}` is no address; write it as https://misp.example.org");
    }
    let key = match (option("misp_key_file"), option("misp_auth_key")) {
        (Some(path), _) => Key::File(path.into()),
        (None, Some(key)) if key != PLACEHOLDER => Key::Inline(key.to_owned().into()),
        (None, _) => bail!("no key is set; put one into a file and name it by `misp_key_file`"),
    };
    // Only the word `false` switches sightings off in the article's script.
    let sightings = option("misp_sight") != Some("false");
    Ok(MispAction { url, event: required("misp_event")?, sightings, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &[(&str, &str)], want: &str) {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let got = match read(&options) {
            Ok(it) => format!("{} {} {} {:?}", it.url, it.event, it.sightings, it.key),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn reads_the_articles_options() {
        let [url, event] = [("misp_base_url", "https://m"), ("misp_event", "7")];
        let key = ("misp_auth_key", "secret");
        // the key is never shown
        check(&[url, event, key], "https://m 7 true Inline(SecretBox<str>([REDACTED]))");
        check(
            &[url, event, key, ("misp_sight", "false"), ("misp_key_file", "/k")],
            "https://m 7 false File(\"/k\")",
        );
        check(&[url, key], "`misp_event` is not set");
        check(&[event, key], "`misp_base_url` is not set");
        check(
            &[url, event, ("misp_auth_key", PLACEHOLDER)],
            "no key is set; put one into a file and name it by `misp_key_file`",
        );
        check(
            &[("misp_base_url", "misp"), event, key],
            "`misp_base_url = misp` is no address; write it as https://misp.example.org",
        );
    }
}
