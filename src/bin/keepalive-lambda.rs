//! The bootstrap of the Lambda function: see [`hashferry::lambda`].

fn main() -> std::process::ExitCode {
    hashferry::lambda::main()
}
