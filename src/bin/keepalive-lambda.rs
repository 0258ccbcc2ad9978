//! The bootstrap of the Lambda function: see [`hashferry::commands::lambda::keepalive`].

fn main() -> std::process::ExitCode {
    hashferry::commands::lambda::keepalive::main()
}
