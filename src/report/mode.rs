//! Which view, with which looks.

/// How to print, decided once at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A live view on a terminal.
    Human(Style),
    /// One timestamped line for each thing that happens.
    Plain(Style),
    /// JSON lines on stdout.
    Json,
    /// Warnings and errors only.
    Quiet(Style),
}

/// What the reader can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

/// What the command line says about output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--json`.
    pub json: bool,
    /// `--quiet`.
    pub quiet: bool,
}

impl Mode {
    /// Chooses from the command line, whether stderr is a terminal, and the environment:
    /// `NO_COLOR`, `CI`, `TERM` and the locale.
    pub fn choose(
        flags: Flags,
        stderr_is_terminal: bool,
        env: impl Fn(&str) -> Option<String>,
    ) -> Mode {
        let set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        let dumb = env("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let live = stderr_is_terminal && !dumb;
        let style = Style { colour: live && !set("NO_COLOR"), unicode: utf8(&env) };
        // CI systems pretend to be terminals but keep every redrawn line in their log.
        let ci = env("CI").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        match flags {
            Flags { json: true, .. } => Mode::Json,
            Flags { quiet: true, .. } => Mode::Quiet(style),
            _ if live && !ci => Mode::Human(style),
            _ => Mode::Plain(style),
        }
    }

    /// The looks; `None` where people do not read.
    pub fn style(self) -> Option<Style> {
        match self {
            Mode::Human(style) | Mode::Plain(style) | Mode::Quiet(style) => Some(style),
            Mode::Json => None,
        }
    }
}

/// Whether the locale is UTF-8, by POSIX precedence.
fn utf8(env: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(env)
        .find(|value| !value.is_empty())
        .map(|value| value.to_ascii_lowercase())
        .is_some_and(|value| value.contains("utf-8") || value.contains("utf8"))
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As the terminal writes.
    None,
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Worth a look.
    Warn,
    /// Background detail.
    Faint,
    /// Headings.
    Strong,
}

impl Style {
    /// Neither colour nor anything beyond ASCII.
    pub const PLAIN: Style = Style { colour: false, unicode: false };

    /// `text` in this colour, if colours are wanted.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::None => return text.to_owned(),
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Warn => "33",
            Paint::Faint => "2",
            Paint::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// The first where the reader can show it, else the second.
    pub fn pick<'a>(self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(flags: Flags, terminal: bool, env: &[(&str, &str)]) -> Mode {
        Mode::choose(flags, terminal, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const TERMINAL: [(&str, &str); 2] = [("TERM", "xterm"), ("LANG", "C.UTF-8")];
    const FULL: Style = Style { colour: true, unicode: true };
    const MONO: Style = Style { colour: false, unicode: true };

    #[test]
    fn chosen_from_flags_terminal_and_environment() {
        let none = Flags::default();
        assert_eq!(choose(none, true, &TERMINAL), Mode::Human(FULL));
        assert_eq!(choose(none, false, &TERMINAL), Mode::Plain(MONO));
        let with = |more| [TERMINAL.as_slice(), &[more]].concat();
        assert_eq!(choose(none, true, &with(("NO_COLOR", "1"))), Mode::Human(MONO));
        assert_eq!(choose(none, true, &with(("NO_COLOR", ""))), Mode::Human(FULL));
        assert_eq!(choose(none, true, &with(("CI", "true"))), Mode::Plain(FULL));
        assert_eq!(choose(none, true, &with(("CI", "false"))), Mode::Human(FULL));
        assert_eq!(choose(none, true, &[("TERM", "dumb")]), Mode::Plain(Style::PLAIN));
        assert_eq!(
            choose(none, true, &with(("LC_ALL", "C"))),
            Mode::Human(Style { colour: true, unicode: false })
        );
        let quiet = Flags { quiet: true, json: false };
        assert_eq!(choose(quiet, true, &TERMINAL), Mode::Quiet(FULL));
        let both = Flags { quiet: true, json: true };
        assert_eq!(choose(both, true, &TERMINAL), Mode::Json);
    }
}
