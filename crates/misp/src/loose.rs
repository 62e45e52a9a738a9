//! Reads and writes MISP's scalars, which come in more than one shape.
//!
//! MISP 2.5.1 answers ids, times and levels as strings, booleans as booleans, and reads either
//! form of each (seen in its answers to events/add, attributes/add and attributes/edit).

/// Whole numbers: written as strings, read as strings or numbers.
pub(crate) mod number {
    use std::fmt;
    use std::str::FromStr;

    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<T, S>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error>
    where
        T: fmt::Display,
        S: Serializer,
    {
        match value {
            Some(value) => out.collect_str(value),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(input: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        D: Deserializer<'de>,
    {
        input.deserialize_any(Number(std::marker::PhantomData))
    }

    struct Number<T>(std::marker::PhantomData<T>);

    impl<T: FromStr> Number<T> {
        fn parse<E: de::Error>(text: &str) -> Result<Option<T>, E> {
            match text.trim() {
                "" => Ok(None),
                digits => digits
                    .parse()
                    .map(Some)
                    .map_err(|_| E::custom(format_args!("`{text}` is no number that fits"))),
            }
        }
    }

    impl<T: FromStr> de::Visitor<'_> for Number<T> {
        type Value = Option<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a whole number, or a string that holds one")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Self::parse(text)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            Self::parse(&value.to_string())
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            Self::parse(&value.to_string())
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
}

/// Booleans: written as such, read also as 0, 1, `"0"`, `"1"`, `"false"`, `"true"`.
pub(crate) mod flag {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        Bool(bool),
        Number(i64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<bool>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(out)
    }

    pub(crate) fn deserialize<'de, D>(input: D) -> Result<Option<bool>, D::Error>
    where
        D: Deserializer<'de>,
    {
        match Option::<Shape>::deserialize(input)? {
            None => Ok(None),
            Some(Shape::Bool(value)) => Ok(Some(value)),
            Some(Shape::Number(value)) => Ok(Some(value != 0)),
            Some(Shape::Text(text)) => match text.trim() {
                "" => Ok(None),
                "0" | "false" => Ok(Some(false)),
                "1" | "true" => Ok(Some(true)),
                other => {
                    Err(de::Error::custom(format_args!("`{other}` is neither true nor false")))
                }
            },
        }
    }
}

/// Points in time as whole epoch seconds.
pub(crate) mod epoch {
    use jiff::Timestamp;
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        super::number::serialize(&value.map(Timestamp::as_second), out)
    }

    pub(crate) fn deserialize<'de, D>(input: D) -> Result<Option<Timestamp>, D::Error>
    where
        D: Deserializer<'de>,
    {
        super::number::deserialize::<i64, D>(input)?
            .map(|seconds| Timestamp::from_second(seconds).map_err(de::Error::custom))
            .transpose()
    }
}

/// Points in time as ISO 8601, which is the only form that MISP takes for `first_seen` and
/// `last_seen` (2.5.1 refuses epoch seconds: "Invalid ISO 8601 format").
pub(crate) mod iso {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(time) => out.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D>(input: D) -> Result<Option<Timestamp>, D::Error>
    where
        D: Deserializer<'de>,
    {
        match Option::<String>::deserialize(input)?.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(de::Error::custom),
        }
    }
}
