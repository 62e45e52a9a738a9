//! `hub`: serves the MISP-compatible server, and manages its keys.

use std::io::{IsTerminal as _, Write};
use std::path::Path;

use hub::keys::{KeyRecord, Keys};
use hub::{Settings, StopHandle, TlsFiles};
use jiff::Timestamp;
use serde_json::json;

use crate::cli::{Folders, Hub, HubCommand, KeysCommand};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::operator::{local, table};
use crate::relay::{self, Relay};
use crate::{log, signals};

/// `hub`
pub(crate) fn run(folders: &Folders, args: &Hub, out: &mut dyn Write) -> Outcome {
    let data = args.data.clone().unwrap_or_else(|| folders.state.join("hub"));
    match &args.command {
        Some(HubCommand::Keys { command }) => keys(&data, command, out),
        Some(HubCommand::Backup { file }) => {
            hub::Hub::backup(&data, file).map_err(Failed::other_side)?;
            Ok(Code::Done)
        }
        None => serve(folders, &data, args, out),
    }
}

fn serve(folders: &Folders, data: &Path, args: &Hub, out: &mut dyn Write) -> Outcome {
    log::begin(log::DEFAULT_LEVEL, log::Target::Stderr);
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let settings = Settings {
        listen: args.listen,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        insecure_http: args.insecure_http,
        public_lists: args.public_lists,
        keep: args.keep,
        geoip: args.geoip.clone(),
        relays: !args.upstream.is_empty(),
        ..Settings::new(data)
    };
    let hub = hub::Hub::open(settings).map_err(Failed::other_side)?;
    let relay = match &*args.upstream {
        [] => None,
        upstreams => Some(relay::setup(folders, data, &hub, upstreams).map_err(Failed::usage)?),
    };
    let url = hub.url();
    let is_json = args.format.is_json();
    // A key that scrolls into a log is a key that is lost: it is shown to a person or a program.
    let key = hub.first_key().filter(|_| is_json || std::io::stdout().is_terminal());
    let announced = match (is_json, key) {
        (true, Some(key)) => writeln!(out, "{}", json!({"url": url, "key": key.reveal()})),
        (true, None) => writeln!(out, "{}", json!({"url": url})),
        (false, Some(key)) => {
            writeln!(out, "hub at {url}\nthe administrator's key, shown once: {}", key.reveal())
        }
        (false, None) => writeln!(
            out,
            "hub at {url}\nthe administrator's key is in `{}`",
            data.join("admin.key").display()
        ),
    };
    announced.and_then(|()| out.flush()).map_err(Failed::other_side)?;

    let stop = StopHandle::new();
    signals::on_end({
        let stop = stop.clone();
        move || stop.stop()
    })
    .map_err(Failed::other_side)?;
    let relay = relay.map(|setup| Relay::start(setup, stop.clone()));
    let served = hub.run(&stop).map_err(Failed::other_side);
    let relayed = relay.map_or(Ok(()), Relay::end).map_err(Failed::other_side);
    served.and(relayed).map(|()| Code::Done)
}

fn keys(data: &Path, command: &KeysCommand, out: &mut dyn Write) -> Outcome {
    let keys = Keys::open(data);
    let written = match command {
        KeysCommand::List(format) => {
            let records = keys.list().map_err(Failed::other_side)?;
            match format.is_json() {
                true => records.iter().try_for_each(|it| writeln!(out, "{}", as_json(it))),
                false => writeln!(out, "{}", key_table(&records)),
            }
        }
        KeysCommand::Add { name, role, format } => {
            let (record, key) = keys.add(name, *role).map_err(Failed::other_side)?;
            match format.is_json() {
                true => writeln!(out, "{}", json!({"id": record.id, "key": key.reveal()})),
                false => writeln!(out, "{}", key.reveal()),
            }
        }
        KeysCommand::Revoke { id } => {
            let record = keys.revoke(*id).map_err(Failed::other_side)?;
            writeln!(out, "key {} of {} is revoked", record.id, escape(&record.name))
        }
        KeysCommand::RotateSigning(format) => {
            let key = hub::Hub::rotate_signing(data).map_err(Failed::other_side)?;
            match format.is_json() {
                true => writeln!(out, "{}", json!({"key": key.to_string()})),
                false => {
                    writeln!(out, "the change stream is signed by {key} as soon as the hub runs")
                }
            }
        }
    };
    written.map_err(Failed::other_side)?;
    Ok(Code::Done)
}

fn as_json(record: &KeyRecord) -> serde_json::Value {
    json!({
        "id": record.id,
        "name": record.name,
        "role": record.role.name(),
        "created": record.created,
        "revoked": record.revoked,
    })
}

fn key_table(records: &[KeyRecord]) -> comfy_table::Table {
    let day = |epoch: i64| Timestamp::from_second(epoch).map(local).unwrap_or_default();
    let mut table = table(["id", "name", "role", "made", "revoked"]);
    for record in records {
        table.add_row([
            record.id.to_string(),
            escape(&record.name),
            record.role.name().to_owned(),
            day(record.created),
            record.revoked.map(day).unwrap_or_default(),
        ]);
    }
    table
}
