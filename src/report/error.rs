//! An error as people read it: what failed, why, and what to do now.

use super::mode::{Paint, Style};
use crate::Error;

/// The whole error, ending with a line break.
///
/// ```text
/// error: node dev-worker never became ready [node-not-ready]
///   cause: kubelet: exit status 1
///          failed to load config
///   hint: run `pipe doctor`
/// ```
pub fn text(error: &Error, style: Style) -> String {
    let code = style.paint(Paint::Faint, &format!("[{}]", error.code));
    let mut text = String::new();
    push(&mut text, "", "error:", &format!("{} {code}", error.what.trim_end()), Paint::Bad, style);
    for cause in &error.causes {
        push(&mut text, "  ", "cause:", cause, Paint::Warn, style);
    }
    for hint in &error.hints {
        push(&mut text, "  ", "hint:", hint, Paint::Good, style);
    }
    text
}

/// One labelled entry; further lines are indented to where the first one's text begins.
fn push(text: &mut String, indent: &str, label: &str, body: &str, paint: Paint, style: Style) {
    let further = " ".repeat(indent.len() + label.len() + 1);
    for (number, line) in body.lines().enumerate() {
        let start = match number {
            0 => format!("{indent}{} ", style.paint(paint, label)),
            _ => further.clone(),
        };
        *text += format!("{start}{line}").trim_end();
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_what_to_do() {
        let error = Error::timed_out("node-not-ready", "node dev-worker never became ready")
            .because("kubelet: exit status 1\n\n  failed to load config\n")
            .because("no such file")
            .hint("run `pipe doctor`")
            .hint("raise the limit:\nsysctl fs.inotify.max_user_instances=512");
        insta::assert_snapshot!(text(&error, Style::PLAIN), @"
        error: node dev-worker never became ready [node-not-ready]
          cause: kubelet: exit status 1

                   failed to load config
          cause: no such file
          hint: run `pipe doctor`
          hint: raise the limit:
                sysctl fs.inotify.max_user_instances=512
        ");
        let colour = Style { colour: true, unicode: true };
        insta::assert_snapshot!(text(&Error::failed("nope", "it broke"), colour).escape_debug(), @r"\u{1b}[31merror:\u{1b}[0m it broke \u{1b}[2m[nope]\u{1b}[0m\n");
    }
}
