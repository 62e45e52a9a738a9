//! Keeps how far an interrupted search came, and what it found until there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hunt::{Done, Finding, Findings, Indicator, Input, Report};
use serde::{Deserialize, Serialize};

/// What is kept.
#[derive(Debug, Default, Deserialize, Serialize)]
struct State {
    /// The logs of the search: findings name them by their places.
    logs: Vec<PathBuf>,
    done: Vec<Done>,
    found: Vec<(String, Finding)>,
}

/// Reads what an interrupted search of the same logs left; nothing where none did.
///
/// # Errors
///
/// When the file cannot be read, is not of this kind, or tells of other logs.
pub(super) fn read(path: Option<&Path>, inputs: &[Input]) -> Result<(Vec<Done>, Findings)> {
    let Some(path) = path else { return Ok((Vec::new(), Findings::default())) };
    let state: State = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("`{}` is no state of a search; remove it", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => State::default(),
        Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
    };
    let places: Vec<_> = state
        .logs
        .iter()
        .map(|log| inputs.iter().position(|input| input.path == *log).map(|at| at as hunt::LogId))
        .collect();
    let found = state.found.into_iter().map(|(text, mut finding)| {
        let indicator: Indicator = text.parse().with_context(|| format!("`{text}`"))?;
        let place = |log: hunt::LogId| {
            let place = places.get(log as usize).copied().flatten();
            place.with_context(|| {
                format!(
                    "`{}` tells of other logs; name the same ones, or remove it",
                    path.display()
                )
            })
        };
        let logs = finding.logs.into_iter().map(|(log, n)| Ok((place(log)?, n)));
        finding.logs = logs.collect::<Result<_>>()?;
        for sample in &mut finding.samples {
            sample.log = place(sample.log)?;
        }
        Ok((indicator, finding))
    });
    Ok((state.done, found.collect::<Result<_>>()?))
}

/// Keeps how far a search came that was interrupted; one that came to its end leaves nothing.
///
/// # Errors
///
/// When the file cannot be written or removed.
pub(super) fn write(path: Option<&Path>, inputs: &[Input], report: &Report) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    if !report.is_stopped {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        };
    }
    let (done, found) = &report.state;
    let state = State {
        logs: inputs.iter().map(|input| input.path.clone()).collect(),
        done: done.clone(),
        found: found
            .sorted()
            .into_iter()
            .map(|(it, finding)| (it.to_string(), finding.clone()))
            .collect(),
    };
    let text = serde_json::to_vec(&state)?;
    fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
}
