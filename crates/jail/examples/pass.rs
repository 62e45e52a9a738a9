//! Several filters on one log: prints how many lines a second they look at together.
//!
//! usage: pass LOG FOLDER FILTER..., where the folder is fail2ban's; `bench/detection.py` runs it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jail::config::{self, options::Item};
use jiff::Timestamp;
use scan::{Filter, Pass, Settings};

use disk::Disk;

#[path = "../tests/disk/mod.rs"]
mod disk;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().ok_or(format!("{what} is missing"));
    let (log, folder) = (next("the log")?, next("fail2ban's folder")?);
    let filters = arguments.map(|name| filter(&folder, &name)).collect::<Result<_, _>>()?;
    let mut pass = Pass::new(filters);
    let text = std::fs::read(log)?;
    let (now, start) = (Timestamp::now(), Instant::now());
    let (mut n_lines, mut n_told) = (0_u64, 0_u64);
    let mut rest = &text[..];
    while let Some(end) = memchr::memchr(b'\n', rest) {
        pass.line(&rest[..end], now, |_, _| n_told += 1);
        rest = &rest[end + 1..];
        n_lines += 1;
    }
    let rate = n_lines as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} lines/s, {n_told} told");
    Ok(())
}

fn filter(folder: &str, name: &str) -> Result<(Arc<Filter>, Settings), Box<dyn Error>> {
    let read = config::read_filter(&Disk, Path::new(folder), Item::parse(name)?, "auto");
    let spec = read.map_err(|fault| format!("{name}: {}", fault.problem))?.spec;
    Ok((Arc::new(Filter::compile(&spec)?), Settings::default()))
}
