//! The binary `hashferry`: the command line.

fn main() -> std::process::ExitCode {
    hashferry::binaries::hashferry()
}
