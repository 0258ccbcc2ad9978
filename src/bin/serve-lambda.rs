//! The bootstrap of the Lambda function that answers look-ups: see
//! [`hashferry::serve::function`].

fn main() -> std::process::ExitCode {
    hashferry::serve::function::main()
}
