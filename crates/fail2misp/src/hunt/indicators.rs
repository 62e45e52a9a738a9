//! What is looked for: lists on disk, standard input, what exchange pulled, a MISP.

use std::fs::File;
use std::io::{BufRead, BufReader};

use anyhow::{Context as _, anyhow};
use control::exchange::ExchangeClient;
use control::pulled::{BlockListQuestion, BlockListView};
use exchange::Destination;
use hunt::{Indicator, List};
use misp::search::Search;

use crate::cli::{self, Folders};
use crate::exit::{Failed, escape};
use crate::jails::count;
use crate::{destinations, settings};

/// How much of a list is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// The types of MISP's attributes that can be looked for in logs.
const TYPES: [&str; 7] = [
    "ip-src",
    "ip-dst",
    "ip-src|port",
    "ip-dst|port",
    "domain|ip",
    "ssh-fingerprint",
    "target-user",
];
/// Attributes that a server is asked for at once.
const PAGE: u32 = 10_000;
/// How often it is asked at most: ten million are more than logs are searched for.
const MAX_PAGES: u32 = 1_000;

/// All indicators that a command line names.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) indicators: Vec<Indicator>,
    /// What is wrong with the lists, a line each.
    pub(super) problems: Vec<String>,
    /// Prefixes that hold too much, and were left out.
    pub(super) n_wide: usize,
    /// Lines that hold no indicator.
    pub(super) n_bad: u64,
}

/// Reads all lists that `args` names.
///
/// # Errors
///
/// When one of them cannot be read.
pub(super) fn read(folders: &Folders, args: &cli::Hunt) -> Result<Wanted, Failed> {
    let narrows = !args.tag.is_empty() || !args.event.is_empty() || args.last.is_some();
    if narrows && !args.indicators.iter().any(|it| it == "misp") {
        return Err(Failed::usage(anyhow!(
            "hunt: --tag, --event and --last choose what MISP is asked for; add `--indicators misp`"
        )));
    }
    let mut wanted = Wanted::default();
    for name in &args.indicators {
        let list = match name.as_str() {
            "-" => list(name, std::io::stdin().lock()).map_err(Failed::usage)?,
            "pulled" => pulled(folders)?,
            "misp" => misp(folders, args)?,
            path => {
                let file = File::open(path);
                let file = file.with_context(|| format!("read the indicators `{}`", escape(path)));
                list(name, BufReader::with_capacity(BUFFER_BYTES, file.map_err(Failed::usage)?))
                    .map_err(Failed::usage)?
            }
        };
        wanted.take(name, list, args.any);
    }
    Ok(wanted)
}

/// What exchange took from MISP and hub, and lets be blocked.
fn pulled(folders: &Folders) -> Result<List, Failed> {
    let question = BlockListQuestion::Show { limit: u32::MAX };
    let view = ExchangeClient::connect(&folders.exchange_socket())
        .and_then(|mut exchange| exchange.block_lists(question))
        .map_err(Failed::other_side)?;
    let BlockListView::Lists(lists) = view else {
        return Err(Failed::other_side(anyhow!("exchange answers something else than its lists")));
    };
    let nets = lists.into_iter().flat_map(|list| list.entries).map(|entry| entry.net);
    Ok(List { indicators: nets.map(Indicator::from).collect(), ..List::default() })
}

/// What the MISPs and hubs of the configuration hold.
fn misp(folders: &Folders, args: &cli::Hunt) -> Result<List, Failed> {
    let settings = settings::read(&folders.config).map_err(Failed::usage)?;
    let (servers, refused) = destinations::servers(folders, &settings);
    if let Some(error) = refused.into_iter().next() {
        return Err(Failed::usage(error));
    }
    if servers.is_empty() {
        return Err(Failed::usage(anyhow!(
            "hunt: no MISP is named; add a [misp.NAME] to `{}`",
            folders.config.display()
        )));
    }
    let search = Search {
        kinds: TYPES.map(str::to_owned).to_vec(),
        tags: args.tag.clone(),
        events: args.event.clone(),
        last: args.last.clone(),
        ..Search::default()
    };
    let mut list = List::default();
    for server in &servers {
        let asked = ask(server, &search, &mut list);
        asked.with_context(|| format!("ask {}", server.url)).map_err(Failed::other_side)?;
    }
    Ok(list)
}

/// Adds what a server holds to `list`.
fn ask(server: &Destination, search: &Search, list: &mut List) -> anyhow::Result<()> {
    let client = exchange::client(server)?;
    for number in 1..=MAX_PAGES {
        let page = client.search(search, number, PAGE)?;
        for found in page.attributes {
            match hunt::of_attribute(&found.kind, &found.value) {
                Some(indicator) => list.indicators.push(indicator),
                None => list.n_other += 1,
            }
        }
        if page.is_last {
            return Ok(());
        }
    }
    Err(anyhow!(
        "it holds more than {} attributes of addresses; choose by --tag, --event or --last",
        MAX_PAGES * PAGE
    ))
}

fn list(name: &str, from: impl BufRead) -> anyhow::Result<List> {
    List::read(from).with_context(|| format!("the indicators `{}`", escape(name)))
}

impl Wanted {
    fn take(&mut self, name: &str, mut list: List, any: bool) {
        let name = escape(name);
        for bad in &list.bad {
            let text = escape(&bad.text);
            self.problems.push(format!("`{name}` line {}: `{text}` is no indicator", bad.line));
        }
        let untold = list.n_bad - list.bad.len() as u64;
        if untold > 0 {
            self.problems.push(format!("`{name}`: {untold} more lines hold no indicator"));
        }
        self.n_bad += list.n_bad;
        if !any {
            let wide = list.remove_wide();
            if !wide.is_empty() {
                self.problems.push(format!(
                    "`{name}`: {} wider than /{} left out; --any takes them",
                    count(wide.len(), "prefix"),
                    hunt::WIDEST_PREFIX
                ));
            }
            self.n_wide += wide.len();
        }
        match self.indicators.is_empty() {
            true => self.indicators = list.indicators,
            false => self.indicators.append(&mut list.indicators),
        }
    }
}
