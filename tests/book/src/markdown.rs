//! What a page of Markdown holds: headings, links, code.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A page, as far as the checks need it.
#[derive(Debug, Default)]
pub struct Page {
    /// Names that a link can lead to, as mdBook and the hosts of repositories make them.
    pub anchors: Vec<String>,
    /// Targets of links and pictures, each with its line.
    pub links: Vec<(usize, String)>,
    /// Code within sentences and tables, each with its line.
    pub code: Vec<(usize, String)>,
}

/// Reads a page.
pub fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES);
    for (event, range) in parser.into_offset_iter() {
        let line = || text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                page.add_anchor(&anchor);
            }
            Event::Text(part) => heading.iter_mut().for_each(|heading| heading.push_str(&part)),
            Event::Code(part) => {
                heading.iter_mut().for_each(|heading| heading.push_str(&part));
                page.code.push((line(), part.into_string()));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((line(), dest_url.into_string()));
            }
            _ => {}
        }
    }
    page
}

impl Page {
    /// A heading that is there again gets a number.
    fn add_anchor(&mut self, anchor: &str) {
        let numbered = |n: usize| if n == 0 { anchor.to_owned() } else { format!("{anchor}-{n}") };
        let free = (0..).map(numbered).find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }
}

/// The anchor of a heading: small letters, hyphens for spaces, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn headings_links_and_code_are_found() {
    let text = "# A `b`: c, d\n\nSee [x](y.md#z)\nand `src/lib.rs`.\n\n## Twice\n## Twice\n\n\
        ```\n# no heading, `no` code, [no](link)\n```\n";
    let page = read(text);
    assert_eq!(page.anchors, ["a-b-c-d", "twice", "twice-1"]);
    assert_eq!(page.links, [(3, "y.md#z".to_owned())]);
    assert_eq!(page.code, [(1, "b".to_owned()), (4, "src/lib.rs".to_owned())]);
}
