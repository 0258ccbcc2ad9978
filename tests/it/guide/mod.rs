//! Tests of the guides: every command in them runs, and every output is as shown.
//!
//! A guide runs from its first command to its last, in a folder with the files of
//! `fixture`, against embedded servers. Blocks of `sh` run. Blocks of `console` run, too,
//! and their output is compared. There `…` stands for any text in a line, and a line `…`
//! for any lines. A comment above a block changes the expected result:
//!
//! - `<!-- exit N -->`: its last command has exit status N instead of 0;
//! - `<!-- until stopped -->`: its last command is a server, which the test stops.
//!
//! A command that ends in ` &` is a server that runs until the end of the guide.

mod blocks;
mod fixture;
mod shell;

use blocks::{Block, Ending};
use fixture::Fixture;
use shell::Shell;

/// Runs every command in `src/guide/NAME.md`.
fn run(name: &str) {
    let path = format!("{}/src/guide/{name}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a guide");
    let fixture = Fixture::start();
    let shell = Shell::new(&fixture);
    let mut commands = 0;
    for block in blocks::of(&text) {
        let at = format!("src/guide/{name}.md, line {}", block.line);
        run_block(&shell, &block, &at);
        commands += block.commands.len();
    }
    let without = ["library", "architecture"];
    assert!(
        commands > 0 || without.contains(&name),
        "{name} has no command"
    );
}

fn run_block(shell: &Shell<'_>, block: &Block, at: &str) {
    let last = block.commands.len() - 1;
    for (n, command) in block.commands.iter().enumerate() {
        if let Some(server) = command.text.strip_suffix(" &") {
            shell.start(server, at);
            continue;
        }
        let expected = match &block.ending {
            Ending::UntilStopped if n == last => {
                shell.run_until_it_listens(&command.text, at);
                continue;
            }
            Ending::Exit(status) if n == last => *status,
            _ => 0,
        };
        let ended = shell.run(&command.text);
        assert_eq!(
            ended.status, expected,
            "{at}: the exit status of\n{}\n{}",
            command.text, ended.output
        );
        if let Some(output) = &command.output {
            let real: Vec<&str> = ended.output.lines().collect();
            let shown: Vec<&str> = output.iter().map(String::as_str).collect();
            assert!(
                blocks::shows(&shown, &real),
                "{at}: the output of\n{}\nis\n{}",
                command.text,
                ended.output
            );
        }
    }
}

/// One test per guide.
macro_rules! guides {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn each_guide_has_a_test() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide");
            let mut names: Vec<String> = std::fs::read_dir(folder)
                .expect("a folder")
                .map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"))
                .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
                .collect();
            names.sort_unstable();
            let mut tested = vec![$(stringify!($name)),*];
            tested.sort_unstable();
            assert_eq!(names, tested);
        }
    };
}

guides! {
    lists capacity raising resuming verifying refresh paths lookups api errors library
    permissions cost performance security architecture
}
