//! Flags for compressed lists, shared by every command that reads lists.

use crate::source::decompress::codec::{Codec, Compression, DecompressOptions};
use crate::source::work_dir::WorkDir;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(crate) struct DecompressArgs {
    /// Compression of the list, which is decompressed while it is read
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Input"
    )]
    compression: CompressionArg,
    /// Member of a ZIP archive to read, if the archive has several
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    member: Option<String>,
    /// Directory for large temporary files: local copies of remote databases, hashes that are being
    /// sorted [default: the system's temporary directory, TMPDIR]
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    work_dir: Option<PathBuf>,
}

/// Values of `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    /// Detect from the first bytes, not from the file name
    Auto,
    /// No compression
    None,
    /// gzip, with one or several members (bgzip)
    Gzip,
    /// zstd, with a window of at most 128 MiB
    Zstd,
    /// xz, with a window of at most 128 MiB
    Xz,
    /// bzip2
    Bzip2,
    /// LZ4 frames
    Lz4,
    /// One member of a ZIP archive
    Zip,
}

impl DecompressArgs {
    /// The options for decompression.
    pub(crate) fn decompress_options(&self) -> DecompressOptions {
        DecompressOptions {
            compression: match self.compression {
                CompressionArg::Auto => Compression::Auto,
                CompressionArg::None => Compression::None,
                CompressionArg::Gzip => Compression::Fixed(Codec::Gzip),
                CompressionArg::Zstd => Compression::Fixed(Codec::Zstd),
                CompressionArg::Xz => Compression::Fixed(Codec::Xz),
                CompressionArg::Bzip2 => Compression::Fixed(Codec::Bzip2),
                CompressionArg::Lz4 => Compression::Fixed(Codec::Lz4),
                CompressionArg::Zip => Compression::Fixed(Codec::Zip),
            },
            member: self.member.clone(),
            work_dir: WorkDir::new(self.work_dir.clone()),
        }
    }

    /// The given flags as command-line arguments.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(how) = self.compression.to_possible_value()
            && self.compression != CompressionArg::Auto
        {
            words.extend(["--compression".to_owned(), how.get_name().to_owned()]);
        }
        if let Some(member) = &self.member {
            words.extend(["--member".to_owned(), member.clone()]);
        }
        if let Some(folder) = &self.work_dir {
            words.extend(["--work-dir".to_owned(), folder.display().to_string()]);
        }
        words
    }
}
