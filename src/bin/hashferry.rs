//! The binary: see [`hashferry::cli::command_line`].

fn main() -> std::process::ExitCode {
    hashferry::cli::command_line::main()
}
