//! A guide as a page of a terminal, and the search for a word in all guides.

/// The kind of a line of a page, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// The title of a guide or of a section.
    Heading,
    /// A line of a code block.
    Code,
    /// Anything else.
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageLine<'a> {
    /// Its kind.
    pub kind: LineKind,
    /// Its text, without the marks of Markdown that only a renderer needs.
    pub text: &'a str,
}

/// The lines of a guide, for a person: no fences, no comments, headings without marks.
pub(crate) fn lines(markdown: &str) -> impl Iterator<Item = PageLine<'_>> {
    let mut code = false;
    markdown.lines().filter_map(move |line| {
        if line.starts_with("```") {
            code = !code;
            return None;
        }
        if code {
            return Some(PageLine {
                kind: LineKind::Code,
                text: line,
            });
        }
        if line.starts_with("<!--") {
            return None;
        }
        let text = line.trim_start_matches('#');
        let kind = match text.len() < line.len() && text.starts_with(' ') {
            true => LineKind::Heading,
            false => LineKind::Text,
        };
        let text = match kind {
            LineKind::Heading => text.trim_start(),
            _ => line,
        };
        Some(PageLine { kind, text })
    })
}

/// The title of a guide: its first heading.
pub(crate) fn title(markdown: &str) -> &str {
    lines(markdown)
        .find(|line| line.kind == LineKind::Heading)
        .map_or("", |line| line.text)
}

/// A line of a guide that holds the word that is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit<'a> {
    /// The heading above it.
    pub section: &'a str,
    /// The line.
    pub text: &'a str,
}

/// The lines of a guide that hold `word`, in upper or lower case.
pub(crate) fn search<'a>(markdown: &'a str, word: &str) -> Vec<Hit<'a>> {
    let word = word.to_lowercase();
    let mut section = "";
    let mut hits = Vec::new();
    for line in lines(markdown) {
        if line.kind == LineKind::Heading {
            section = line.text;
        }
        if line.text.to_lowercase().contains(&word) {
            hits.push(Hit {
                section,
                text: line.text.trim(),
            });
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guide::chapters::GUIDES;

    const PAGE: &str = "# Title\n\n```sh\n# a comment\nhashferry -V\n```\n\
                        <!-- exit 3 -->\n## Part\n#hashtag and `code`\n";

    fn page_line(kind: LineKind, text: &str) -> PageLine<'_> {
        PageLine { kind, text }
    }

    #[test]
    fn fences_and_comments_are_left_out_and_headings_lose_their_marks() {
        let expected = [
            page_line(LineKind::Heading, "Title"),
            page_line(LineKind::Text, ""),
            page_line(LineKind::Code, "# a comment"),
            page_line(LineKind::Code, "hashferry -V"),
            page_line(LineKind::Heading, "Part"),
            page_line(LineKind::Text, "#hashtag and `code`"),
        ];
        assert_eq!(lines(PAGE).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_search_ignores_case_and_names_the_section() {
        let hit = |section, text| Hit { section, text };
        assert_eq!(search(PAGE, "CODE"), [hit("Part", "#hashtag and `code`")]);
        assert_eq!(search(PAGE, "part"), [hit("Part", "Part")]);
        assert_eq!(search(PAGE, "sh\n"), []);
    }

    #[test]
    fn each_guide_has_a_title_then_a_command_and_fits_80_columns() {
        for (name, markdown) in GUIDES {
            assert!(markdown.starts_with("# "), "{name} has no title");
            let fence = markdown
                .lines()
                .find(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with("<!--"));
            let commands = [Some("```sh"), Some("```text"), Some("```rust,no_run")];
            assert!(
                commands.contains(&fence),
                "{name} does not begin with commands"
            );
            for line in lines(markdown) {
                let indent = match line.kind {
                    LineKind::Code => 2,
                    _ => 0,
                };
                let width = line.text.chars().count() + indent;
                assert!(width <= 80, "{name}: {width} columns: {}", line.text);
            }
        }
    }
}
