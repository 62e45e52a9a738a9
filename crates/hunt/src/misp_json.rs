//! The attributes in MISP's JSON, wherever they stand, without holding the whole of it.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Calls `each` with the type and the value of every object that has both.
pub(crate) fn for_each_attribute(
    from: impl Read,
    mut each: impl FnMut(&str, &str),
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_reader(from);
    Any(&mut each).deserialize(&mut json)?;
    json.end()
}

/// Any value, of which the attributes are told.
struct Any<'e, F>(&'e mut F);

impl<'de, F: FnMut(&str, &str)> DeserializeSeed<'de> for Any<'_, F> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str, &str)> Visitor<'de> for Any<'_, F> {
    /// A text; anything else has told what it holds.
    type Value = Option<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("events or attributes of MISP")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element_seed(Any(&mut *self.0))?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut value) = (None, None);
        while let Some(name) = items.next_key::<String>()? {
            match name.as_str() {
                "type" => kind = items.next_value_seed(Any(&mut *self.0))?,
                "value" => value = items.next_value_seed(Any(&mut *self.0))?,
                "Sighting" | "Galaxy" | "Tag" => drop(items.next_value::<IgnoredAny>()?),
                _ => drop(items.next_value_seed(Any(&mut *self.0))?),
            }
        }
        if let (Some(kind), Some(value)) = (kind, value) {
            (self.0)(&kind, &value);
        }
        Ok(None)
    }
}
