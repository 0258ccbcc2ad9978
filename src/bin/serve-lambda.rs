//! The bootstrap of the Lambda function that answers look-ups: see
//! [`hashferry::commands::lambda::serve`].

fn main() -> std::process::ExitCode {
    hashferry::commands::lambda::serve::main()
}
