//! `outbox`: what MISP has not confirmed, and what an operator does about it.

use std::io::Write;

use control::exchange::{ExchangeClient, OutboxEntry};
use serde_json::json;

use crate::cli::{Folders, Format, Outbox, OutboxCommand};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::operator::{asked, local, one_line, table};

/// The entries that are listed; more fill no screen that anybody reads.
const MAX_LISTED: u32 = 1_000;

/// `outbox`
pub(crate) fn run(folders: &Folders, args: &Outbox, out: &mut dyn Write) -> Outcome {
    let mut exchange = ExchangeClient::connect(&folders.exchange_socket()).map_err(asked)?;
    let text = match &args.command {
        None => listed(&mut exchange, args.format)?,
        Some(OutboxCommand::List(format)) => listed(&mut exchange, *format)?,
        Some(OutboxCommand::Retry { ids }) => {
            let ids = (!ids.is_empty()).then_some(ids.as_slice());
            format!("{}\n", exchange.retry(ids).map_err(asked)?)
        }
        Some(OutboxCommand::Drop { ids, all }) => {
            let ids = (!all).then_some(ids.as_slice());
            format!("{}\n", exchange.drop_entries(ids).map_err(asked)?)
        }
        Some(OutboxCommand::Pause) => {
            exchange.pause().map_err(asked)?;
            "nobody is told anything until `fail2misp outbox resume`\n".to_owned()
        }
        Some(OutboxCommand::Resume) => {
            exchange.resume().map_err(asked)?;
            "what waits is told again\n".to_owned()
        }
    };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(Code::Done)
}

fn listed(exchange: &mut ExchangeClient, format: Format) -> Result<String, Failed> {
    let entries = exchange.outbox(MAX_LISTED).map_err(asked)?;
    Ok(match format.is_json() {
        true => entries.iter().map(|entry| one_line(&json!(entry))).collect(),
        false if entries.is_empty() => "nothing waits: MISP has confirmed everything\n".to_owned(),
        false => outbox_table(&entries),
    })
}

fn outbox_table(entries: &[OutboxEntry]) -> String {
    let mut table = table(["id", "to", "address", "jail", "banned", "tried", "why"]);
    for entry in entries {
        table.add_row([
            entry.id.to_string(),
            entry.destination.clone(),
            escape(&entry.subject.to_string()),
            escape(&entry.jail),
            local(entry.time),
            entry.n_tried.to_string(),
            escape(entry.why.as_deref().unwrap_or("")),
        ]);
    }
    format!("{table}\n")
}
