//! The bootstrap of the Lambda function that keeps a table alive.

fn main() -> std::process::ExitCode {
    hashferry::binaries::keepalive::main()
}
