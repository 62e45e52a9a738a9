//! The program: flags to one function a subcommand.

mod allocator;
mod backfill;
mod blocklist;
mod check;
mod cli;
mod deliver;
mod demo;
mod destinations;
mod disk;
mod doctor;
mod exit;
mod fail2ban_client;
mod firewall;
mod hunt;
mod jails;
mod lines;
mod log;
mod logs;
mod look_back;
mod misp_action;
mod mistake;
mod moment;
mod netns;
mod operator;
mod outbox;
mod program;
mod pulling;
mod reading;
mod regex;
mod relay;
mod report;
mod run;
mod serve_hub;
mod settings;
mod signals;
mod supervisor;
mod textfile;
mod who;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use exit::{Failed, Outcome};

/// The script that the article's action calls.
const ARTICLES_SCRIPT: &str = "misp_add_attribute.sh";

fn main() -> ExitCode {
    let arguments = std::env::args_os();
    if is_called(fail2ban_client::NAME) {
        return fail2ban_client::main(arguments.skip(1), &mut std::io::stdout());
    }
    let cli = Cli::parse_from(command_line(arguments));
    match run(&cli, &mut std::io::stdout()) {
        Ok(code) => ExitCode::from(code as u8),
        Err(failed) => {
            report(&failed);
            ExitCode::from(failed.code as u8)
        }
    }
}

/// The arguments; under the name of the article's script they are those of `report`.
fn command_line(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    if is_called(ARTICLES_SCRIPT) {
        arguments.splice(..1, ["fail2misp", "report", "--"].map(OsString::from));
    }
    arguments
}

/// Whether the program is called by this name: a link to it.
fn is_called(name: &str) -> bool {
    std::env::args_os().next().is_some_and(|it| Path::new(&it).file_name() == Some(name.as_ref()))
}

fn report(failed: &Failed) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "fail2misp: {failed}");
}

fn run(cli: &Cli, out: &mut dyn Write) -> Outcome {
    let folders = &cli.folders;
    match &cli.command {
        Command::Status(args) => operator::status(folders, args, out),
        Command::Banned(args) => operator::banned(folders, args, out),
        Command::Ban(args) => operator::ban(folders, args, out),
        Command::Unban(args) => operator::unban(folders, args, out),
        Command::Get(args) => operator::client_command(folders, "get", args, out),
        Command::Set(args) => operator::client_command(folders, "set", args, out),
        Command::Stop(args) => operator::client_command(folders, "stop", args, out),
        Command::Flushlogs(args) => operator::client_command(folders, "flushlogs", args, out),
        Command::Reload(args) => operator::reload(folders, args),
        Command::Ping(format) => operator::ping(folders, *format, out),
        Command::Outbox(args) => outbox::run(folders, args, out),
        Command::Blocklist(args) => blocklist::run(folders, args, out),
        Command::Check(format) => check::run(folders, *format, out),
        Command::Regex(args) => regex::run(folders, args, out),
        Command::Backfill(args) => backfill::run(folders, args, out),
        Command::Doctor(format) => doctor::run(folders, *format, out),
        Command::Hunt(args) => hunt::run(folders, args, out),
        Command::Who(args) => who::run(folders, args, out),
        Command::Hub(args) => serve_hub::run(folders, args, out),
        Command::Report(args) => report::run(folders, args),
        Command::Demo(args) => demo::run(args, out),
        Command::Run(args) => run::run(folders, args),
        Command::Deliver => run::deliver(folders),
    }
}
