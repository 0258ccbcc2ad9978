//! The bootstrap of the Lambda function for keepalive traffic.

fn main() -> std::process::ExitCode {
    hashferry::binaries::keepalive::main()
}
