//! The bootstrap of the Lambda function that answers look-ups.

fn main() -> std::process::ExitCode {
    hashferry::binaries::serve::main()
}
