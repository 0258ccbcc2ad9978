//! Commands in a Markdown text, and the comparison of their output with the text.

/// End of the last command of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Exit(i32),
    UntilStopped,
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) text: String,
    /// The lines of output that the text shows; `None` if it shows none.
    pub(super) output: Option<Vec<String>>,
}

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Line number of its opening fence, from 1.
    pub(super) line: usize,
    pub(super) ending: Ending,
    pub(super) commands: Vec<Command>,
}

/// The `sh` and `console` blocks of `text`.
pub(super) fn of(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    let mut ending = Ending::Exit(0);
    while let Some((at, line)) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- ") {
            ending = ending_of(comment.trim_end_matches(" -->"), at + 1);
            continue;
        }
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.starts_with("```"))
            .collect();
        let commands = match kind {
            "sh" => script(&body),
            "console" => session(&body),
            _ => Vec::new(),
        };
        if !commands.is_empty() {
            blocks.push(Block {
                line: at + 1,
                ending,
                commands,
            });
        }
        ending = Ending::Exit(0);
    }
    blocks
}

fn ending_of(comment: &str, line: usize) -> Ending {
    match comment.strip_prefix("exit ") {
        Some(status) => Ending::Exit(status.parse().expect("an exit status")),
        None if comment == "until stopped" => Ending::UntilStopped,
        None => panic!("line {line}: unknown comment: {comment}"),
    }
}

/// One command per line; a line that ends in `\` continues on the next.
fn script(body: &[&str]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut continues = false;
    for line in body {
        match commands.last_mut() {
            Some(command) if continues => {
                command.text.push('\n');
                command.text.push_str(line);
            }
            _ if line.trim().is_empty() || line.starts_with('#') => continue,
            _ => commands.push(Command {
                text: (*line).to_owned(),
                output: None,
            }),
        }
        continues = line.ends_with('\\');
    }
    commands
}

/// Commands after `$ `, each with its output below.
fn session(body: &[&str]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut continues = false;
    for line in body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(text), _) => commands.push(Command {
                text: text.to_owned(),
                output: Some(Vec::new()),
            }),
            (None, Some(command)) if continues => {
                command.text.push('\n');
                command.text.push_str(line);
            }
            (None, Some(command)) => {
                let output = command.output.get_or_insert_default();
                output.push((*line).to_owned());
                continue;
            }
            (None, None) => panic!("output above the first command: {line}"),
        }
        continues = line.ends_with('\\');
    }
    commands
}

/// True if the lines `shown` match the output `real`; `…` matches any text or lines.
pub(super) fn shows(shown: &[&str], real: &[&str]) -> bool {
    match shown.split_first() {
        None => real.is_empty(),
        Some((&"…", rest)) => (0..=real.len()).any(|n| shows(rest, &real[n..])),
        Some((line, rest)) => match real.split_first() {
            Some((first, others)) => shows_line(line, first) && shows(rest, others),
            None => false,
        },
    }
}

fn shows_line(shown: &str, real: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = real.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn blocks_of_commands_are_found_with_their_endings() {
    let text = "```sh\n# first\na \\\n  b\nc\n```\n```text\nd\n```\n<!-- exit 3 -->\n\
                ```console\n$ e\nout\n\n$ f\n```\n<!-- until stopped -->\n```sh\ng\n```\n";
    let command = |text: &str, output: Option<&[&str]>| Command {
        text: text.to_owned(),
        output: output.map(|lines| lines.iter().map(|&l| l.to_owned()).collect()),
    };
    let block = |line, ending, commands| Block {
        line,
        ending,
        commands,
    };
    let expected = [
        block(
            1,
            Ending::Exit(0),
            vec![command("a \\\n  b", None), command("c", None)],
        ),
        block(
            11,
            Ending::Exit(3),
            vec![command("e", Some(&["out", ""])), command("f", Some(&[]))],
        ),
        block(18, Ending::UntilStopped, vec![command("g", None)]),
    ];
    assert_eq!(of(text), expected);
}

#[test]
fn an_ellipsis_stands_for_text_or_lines_and_nothing_else_does() {
    let real = ["one 12 s", "two", "three"];
    assert!(shows(&["one … s", "…", "three"], &real));
    assert!(shows(&["…"], &real));
    assert!(shows(&["one…", "two", "t…ee"], &real));
    assert!(!shows(&["one … m", "…"], &real));
    assert!(!shows(&["one 12 s", "two"], &real));
    assert!(!shows(&["one 12 s", "two", "three", "four"], &real));
    assert!(!shows(&["three…three"], &["three"]));
}
