//! Indicators × old logs → hits.

mod ahead;
mod block;
mod finding;
mod indicator;
mod input;
mod journal;
mod line;
mod list;
mod matcher;
mod misp_json;
mod names;
mod outcome;
mod packing;
mod ranges;
mod related;
mod search;
mod segment;
mod set;
mod table;
mod token;
mod work;

pub use finding::{Beside, Finding, Findings, LogId, Sample, Tally};
pub use indicator::{Indicator, NoIndicator};
pub use input::{FileId, Input, STDIN, Unread, find, find_rotated};
pub use list::{BadLine, List, ListError, WIDEST_PREFIX, of_attribute};
pub use outcome::{Filters, Outcome};
pub use related::{Reason, Related, Shared, clues, related};
pub use search::{Company, Options, Progress, Report, search};
pub use set::IndicatorSet;
pub use token::for_each_address;
pub use work::Done;
