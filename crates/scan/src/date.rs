//! Dates: where a line's date is, and which moment it means.

mod detector;
mod hot;
mod pattern;
mod stamp;
mod template;
mod zones;

pub(crate) use detector::{DatePatterns, Detector, Found};
pub(crate) use hot::Hot;
pub(crate) use pattern::Years;
pub(crate) use stamp::{Clock, Moment};
pub(crate) use zones::offset_minutes;
