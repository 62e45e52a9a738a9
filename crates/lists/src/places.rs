//! Where an address is: its country and its autonomous system, by files in MaxMind's format.
//!
//! Such files are GeoLite2's and DB-IP's, for countries, cities or autonomous systems; of several,
//! each says what it knows. The caller reads them: this room reads no file.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{MaxMindDbError, Reader};
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Records of a file that are looked at for a word on countries or autonomous systems: a file
/// that has none in so many is of another kind.
const MAX_LOOKED_AT: usize = 1_000;

/// What files know of where addresses are.
#[derive(Debug, Default)]
pub struct Places(Vec<Reader<Vec<u8>>>);

/// Where an address is, as far as it is known.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The country, by the two letters of ISO 3166.
    pub country: Option<String>,
    /// Who announces the address.
    #[serde(rename = "as")]
    pub system: Option<AutonomousSystem>,
}

/// Who announces addresses to the Internet.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct AutonomousSystem {
    /// Its number.
    pub number: u32,
    /// Who runs it; empty where that is not known.
    pub name: String,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// It is of another format, or damaged.
    #[error("it is no database in MaxMind's format, or damaged; fetch the `.mmdb` anew, unpacked")]
    Format(#[source] MaxMindDbError),
    /// It knows of other things.
    #[error(
        "it is of the kind `{0}`, which knows neither countries nor autonomous systems; take \
         GeoLite2-Country, GeoLite2-ASN or their like"
    )]
    Kind(String),
}

/// A record, as far as it matters here.
#[derive(Deserialize)]
struct Record {
    country: Option<Country>,
    /// Of whatever width the maker of the file chose.
    autonomous_system_number: Option<Number>,
    #[serde(default)]
    autonomous_system_organization: String,
}

#[derive(Deserialize)]
struct Country {
    iso_code: Option<String>,
}

impl From<Record> for Place {
    fn from(record: Record) -> Self {
        let number = record.autonomous_system_number.and_then(|it| it.as_u64()?.try_into().ok());
        let name = record.autonomous_system_organization;
        Self {
            country: record.country.and_then(|it| it.iso_code),
            system: number.map(|number| AutonomousSystem { number, name }),
        }
    }
}

impl Places {
    /// Heeds one more file, whose bytes these are.
    ///
    /// # Errors
    ///
    /// When it is no such file, or knows nothing of what is asked here.
    pub fn add(&mut self, file: Vec<u8>) -> Result<(), PlacesError> {
        let reader = Reader::from_source(file).map_err(PlacesError::Format)?;
        if !is_telling(&reader).map_err(PlacesError::Format)? {
            return Err(PlacesError::Kind(reader.metadata().database_type.clone()));
        }
        self.0.push(reader);
        Ok(())
    }

    /// Whether there is no file to ask.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where `addr` is.
    pub fn of(&self, addr: IpAddr) -> Place {
        self.0.iter().fold(Place::default(), |known, reader| {
            let more = look_up(reader, addr.to_canonical());
            Place { country: known.country.or(more.country), system: known.system.or(more.system) }
        })
    }
}

/// What one file says of `addr`. Nothing, where it has no word on IPv6, or is damaged there: this
/// is told beside an address, and nothing hangs on it.
fn look_up(reader: &Reader<Vec<u8>>, addr: IpAddr) -> Place {
    let record = reader.lookup(addr).and_then(|it| it.decode::<Record>());
    record.ok().flatten().map(Place::from).unwrap_or_default()
}

/// Whether the first records say where anybody is.
fn is_telling(reader: &Reader<Vec<u8>>) -> Result<bool, MaxMindDbError> {
    for found in reader.networks(Default::default())?.take(MAX_LOOKED_AT) {
        // A record of another shape is another kind's.
        let Ok(Some(record)) = found?.decode::<Record>() else { continue };
        if Place::from(record) != Place::default() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Place {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.country, &self.system) {
            (Some(country), Some(system)) => write!(out, "{country}, {system}"),
            (Some(country), None) => out.write_str(country),
            (None, Some(system)) => system.fmt(out),
            (None, None) => out.write_str("unknown"),
        }
    }
}

impl fmt::Display for AutonomousSystem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AS{}", self.number)?;
        if !self.name.is_empty() {
            write!(out, " {}", self.name)?;
        }
        Ok(())
    }
}
