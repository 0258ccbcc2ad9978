//! The flags that say how a list is compressed, alike for every command that reads
//! lists.

use crate::source::decompress::codec::{Codec, Compression, Unpack};
use crate::source::work_dir::WorkDir;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Args)]
pub(crate) struct UnpackArgs {
    /// Compression of the list, undone as it is read
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Input"
    )]
    compression: CompressionArg,
    /// The member of a ZIP archive that is the list, where it has several
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    member: Option<String>,
    /// Where large temporary files go: the copy of a database that does not lie on this machine,
    /// hashes that are sorted [default: the system's folder for them, which TMPDIR names]
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    work_dir: Option<PathBuf>,
}

/// Compressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    /// As the first bytes show, whatever its name is
    Auto,
    /// None: the bytes are taken as they are
    None,
    /// gzip, of one member or several (bgzip)
    Gzip,
    /// zstd, with a window of 128 MiB at most
    Zstd,
    /// xz, with a window of 128 MiB at most
    Xz,
    /// bzip2
    Bzip2,
    /// LZ4 frames
    Lz4,
    /// One member of a ZIP archive
    Zip,
}

impl UnpackArgs {
    /// What was told.
    pub(crate) fn unpack(&self) -> Unpack {
        Unpack {
            compression: match self.compression {
                CompressionArg::Auto => Compression::Auto,
                CompressionArg::None => Compression::None,
                CompressionArg::Gzip => Compression::Is(Codec::Gzip),
                CompressionArg::Zstd => Compression::Is(Codec::Zstd),
                CompressionArg::Xz => Compression::Is(Codec::Xz),
                CompressionArg::Bzip2 => Compression::Is(Codec::Bzip2),
                CompressionArg::Lz4 => Compression::Is(Codec::Lz4),
                CompressionArg::Zip => Compression::Is(Codec::Zip),
            },
            member: self.member.clone(),
            work: WorkDir::new(self.work_dir.clone()),
        }
    }

    /// The same as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
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
