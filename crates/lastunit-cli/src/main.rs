//! The command line `lastunit`: serve, import, check, migrate, keys, race, bench, prove.

mod bench;
mod check;
mod demo;
mod import;
mod keys;
mod migrate;
mod place;
mod prove;
mod race;
mod serve;
mod store_url;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The checkout engine that sells the last unit exactly once.
///
/// `lastunit serve` starts a server on an embedded database in one file, prints a key and a call to try.
/// Every option can also be set in the environment, by the name shown with it.
#[derive(Parser)]
#[command(name = "lastunit", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Import(import::Args),
    Check(check::Args),
    Migrate(migrate::Args),
    #[command(subcommand)]
    Keys(keys::Command),
    Race(race::Args),
    Bench(bench::Args),
    Prove(prove::Args),
    /// Print the OpenAPI document of the server.
    Openapi,
}

fn main() -> ExitCode {
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(Cli::parse().command)));
    match ran {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lastunit: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Race(args) => race::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Prove(args) => prove::run(args).await,
        Command::Openapi => {
            print!("{}", lastunit_server::openapi_json());
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_option_can_be_set_in_the_environment() {
        fn options(command: &clap::Command) {
            for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let id = option.get_id().as_str();
                if matches!(id, "help" | "version") {
                    continue;
                }
                let expected = format!("LASTUNIT_{}", id.to_uppercase());
                let env = option.get_env().and_then(|env| env.to_str());
                assert_eq!(env, Some(expected.as_str()), "--{id} of {}", command.get_name());
                assert!(option.get_help().is_some(), "--{id} of {} says what it is", command.get_name());
            }
            command.get_subcommands().for_each(options);
        }
        let command = Cli::command();
        options(&command);
        command.debug_assert();
    }
}
