//! `outbox`: what MISP has not confirmed, and what an operator does about it.

use std::io::Write;

use control::exchange::{EntryState, ExchangeClient, OutboxEntry, PreviewedCall};
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
        Some(OutboxCommand::Approve { ids, all }) => {
            let ids = (!all).then_some(ids.as_slice());
            format!("{}\n", exchange.approve(ids).map_err(asked)?)
        }
        Some(OutboxCommand::Preview { ids, format }) => {
            let ids = (!ids.is_empty()).then_some(ids.as_slice());
            previewed(&exchange.preview(ids).map_err(asked)?, *format)
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

/// Each call as it would go over the wire, but for the key; a line of JSON for each, else.
fn previewed(calls: &[PreviewedCall], format: Format) -> String {
    let human = |call: &PreviewedCall| {
        let mut text = format!(
            "# {}\n{} {}\nAuthorization: (the key)\nAccept: application/json\n\
             Content-Type: application/json\n\n",
            escape(&call.destination),
            call.method,
            escape(&call.url),
        );
        if let Some(body) = &call.body {
            text += &format!("{}\n\n", escape(body));
        }
        text
    };
    match format.is_json() {
        true => calls.iter().map(|call| one_line(&json!(call))).collect(),
        false if calls.is_empty() => "nothing would be sent\n".to_owned(),
        false => calls.iter().map(human).collect(),
    }
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
            escape(why(entry)),
        ]);
    }
    format!("{table}\n")
}

fn why(entry: &OutboxEntry) -> &str {
    match (entry.why.as_deref(), entry.state) {
        (Some(why), _) => why,
        (None, EntryState::InReview) => "waits for `outbox approve`",
        (None, EntryState::Waits | EntryState::SetAside) => "",
    }
}
