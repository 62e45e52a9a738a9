//! The program: flags to one function a subcommand.

mod cli;
mod disk;
mod exit;
mod log;
mod netns;
mod settings;

fn main() {}
