//! `blocklist`: what the indicators became, why each is in or out, and what an operator does about it.

use std::io::Write;

use control::exchange::ExchangeClient;
use control::pulled::{BlockListQuestion, BlockListView, Difference, ListView, Reason};
use ipnet::IpNet;
use lists::net;
use serde_json::json;

use crate::cli::{BlockListArgs, BlockListCommand, Folders, Format};
use crate::exit::{Code, Failed, Outcome, escape};
use crate::operator::{asked, local, one_line, table};

/// The entries of each list that are shown; more fill no screen that anybody reads.
const MAX_SHOWN: u32 = 1_000;
/// As JSON: all that a list may have.
const MAX_LISTED: u32 = 1_000_000;

/// `blocklist [show|why IP|diff|accept|rollback]`
pub(crate) fn run(folders: &Folders, args: &BlockListArgs, out: &mut dyn Write) -> Outcome {
    let shown = BlockListCommand::Show(args.format);
    let command = args.command.as_ref().unwrap_or(&shown);
    let limit = |format: &Format| if format.is_json() { MAX_LISTED } else { MAX_SHOWN };
    let (question, format) = match command {
        BlockListCommand::Show(format) => {
            (BlockListQuestion::Show { limit: limit(format) }, format)
        }
        BlockListCommand::Why { ip, format } => (BlockListQuestion::Why { net: read(ip)? }, format),
        BlockListCommand::Diff(format) => {
            (BlockListQuestion::Diff { limit: limit(format) }, format)
        }
        BlockListCommand::Accept(format) => (BlockListQuestion::Accept, format),
        BlockListCommand::Rollback(format) => (BlockListQuestion::Rollback, format),
    };
    let mut exchange = ExchangeClient::connect(&folders.exchange_socket()).map_err(asked)?;
    let view = exchange.block_lists(question).map_err(asked)?;
    let text = if format.is_json() { as_json(&view) } else { as_text(&view) };
    out.write_all(text.as_bytes()).map_err(Failed::other_side)?;
    Ok(code(&view))
}

fn read(ip: &str) -> Result<IpNet, Failed> {
    let wrong = || Failed::usage(anyhow::anyhow!("`{ip}` is no address and no prefix"));
    net::read(ip).ok_or_else(wrong)
}

/// Whether the answer is yes: somebody is blocked, something would change or has changed.
fn code(view: &BlockListView) -> Code {
    let is_no = match view {
        BlockListView::Why(reasons) => reasons.iter().all(|it| it.blocked_until.is_none()),
        BlockListView::Changed(changed) => {
            changed.iter().all(|it| it.n_added + it.n_removed == 0 && it.waiting.is_none())
        }
        BlockListView::Sources(_) | BlockListView::Lists(_) | BlockListView::Differences(_) => {
            false
        }
    };
    if is_no { Code::No } else { Code::Done }
}

fn as_json(view: &BlockListView) -> String {
    match view {
        BlockListView::Sources(all) => all.iter().map(|it| one_line(&json!(it))).collect(),
        BlockListView::Lists(all) => all.iter().map(|it| one_line(&json!(it))).collect(),
        BlockListView::Why(all) => all.iter().map(|it| one_line(&json!(it))).collect(),
        BlockListView::Differences(all) | BlockListView::Changed(all) => {
            all.iter().map(|it| one_line(&json!(it))).collect()
        }
    }
}

fn as_text(view: &BlockListView) -> String {
    match view {
        BlockListView::Sources(_) => String::new(),
        BlockListView::Lists(lists) => lists_table(lists),
        BlockListView::Why(reasons) if reasons.is_empty() => {
            "no source tells anything of it\n".to_owned()
        }
        BlockListView::Why(reasons) => reasons.iter().map(reason).collect(),
        BlockListView::Differences(all) => all.iter().map(difference).collect(),
        BlockListView::Changed(all) => all.iter().map(changed).collect(),
    }
}

fn lists_table(lists: &[ListView]) -> String {
    let mut table = table(["address", "source", "until"]);
    for list in lists {
        for entry in &list.entries {
            let until = entry.until.map_or_else(|| "for ever".to_owned(), local);
            table.add_row([net::write(entry.net), escape(&list.source), until]);
        }
    }
    let totals: Vec<String> = lists
        .iter()
        .map(|it| format!("{}: {} entries\n", escape(&it.source), it.n_entries))
        .collect();
    format!("{table}\n{}", totals.concat())
}

fn reason(it: &Reason) -> String {
    let source = escape(&it.source);
    let becomes = match (&it.why_not, it.blocked_until) {
        (Some(why), _) => format!("not blocked: {}", escape(why)),
        (None, Some(until)) => format!("blocked until {}", local(until)),
        (None, None) => {
            "not blocked: the list stands still, or a wider prefix covers it".to_owned()
        }
    };
    let score = it.score.map(|it| format!(", score {it:.0}")).unwrap_or_default();
    let tags = match it.tags.is_empty() {
        true => String::new(),
        false => format!("\n  tags: {}", escape(&it.tags.join(", "))),
    };
    format!(
        "{} at {source}: {becomes}\n  {}, seen from {} to {}{score}{tags}\n",
        net::write(it.net),
        escape(&it.kind),
        local(it.first),
        local(it.last),
    )
}

fn difference(it: &Difference) -> String {
    let mut text = match &it.waiting {
        Some(why) => format!("{} waits: {}\n", escape(&it.source), escape(why)),
        None => format!("{}: nothing waits\n", escape(&it.source)),
    };
    text.extend(it.added.iter().map(|net| format!("+ {}\n", net::write(*net))));
    text.extend(it.removed.iter().map(|net| format!("- {}\n", net::write(*net))));
    text + &format!("{} more and {} fewer\n", it.n_added, it.n_removed)
}

fn changed(it: &Difference) -> String {
    let (source, n_added, n_removed) = (escape(&it.source), it.n_added, it.n_removed);
    let still = match &it.waiting {
        Some(_) => "; it stays so until `fail2misp blocklist accept`",
        None => "",
    };
    format!("{source}: {n_added} more and {n_removed} fewer are blocked{still}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_said() {
        let nets = |texts: &[&str]| texts.iter().filter_map(|it| net::read(it)).collect();
        let it = Difference {
            source: "main".to_owned(),
            waiting: Some("3 more and 700 fewer in a list of 900 at once".to_owned()),
            n_added: 3,
            n_removed: 700,
            added: nets(&["192.0.2.7"]),
            removed: nets(&["192.0.2.0/24"]),
        };
        insta::assert_snapshot!(difference(&it), @r"
        main waits: 3 more and 700 fewer in a list of 900 at once
        + 192.0.2.7
        - 192.0.2.0/24
        3 more and 700 fewer
        ");
    }
}
