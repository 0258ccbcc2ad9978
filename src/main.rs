//! The binary: see [`hashferry::cli`].

fn main() -> std::process::ExitCode {
    hashferry::cli::main()
}
