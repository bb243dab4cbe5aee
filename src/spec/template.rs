//! The little templates of a component's `env` and `files`: `nats://{host}:{port:client}`.

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is.
    Literal(&'a str),
    /// `{host}`: the address clients on this host dial.
    Host,
    /// `{node}`: the address of the node that the component's pod runs on.
    Node,
    /// `{file:NAME}`: where the component's file of that name was written.
    File(&'a str),
    /// `{port:NAME}`: the host port of the component's port.
    Port(&'a str),
    /// `{KEY}`: a key of the component's credentials.
    Credential(&'a str),
}

/// Splits a template. There is no escape: no setting needs a brace.
pub fn parse(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or_else(|| format!("{text:?} has a {{ without }}"))?;
        pieces.push(literal_piece(text, literal)?);
        pieces.push(match name.split_once(':') {
            Some(("port", port)) => Piece::Port(port),
            Some(("file", file)) => Piece::File(file),
            Some(_) => return Err(format!("{{{name}}} is no variable")),
            None if name == "host" => Piece::Host,
            None if name == "node" => Piece::Node,
            None => Piece::Credential(name),
        });
        rest = after;
    }
    pieces.push(literal_piece(text, rest)?);
    pieces.retain(|piece| *piece != Piece::Literal(""));
    Ok(pieces)
}

fn literal_piece<'a>(text: &str, literal: &'a str) -> Result<Piece<'a>, String> {
    match literal.contains('}') {
        true => Err(format!("{text:?} has a }} without {{")),
        false => Ok(Piece::Literal(literal)),
    }
}

/// Fills a template in; `value` gives the text of each variable. `None` where the template is wrong
/// or a variable has no value, which a checked file rules out for the names it knows.
pub fn render(text: &str, mut value: impl FnMut(&Piece<'_>) -> Option<String>) -> Option<String> {
    let mut rendered = String::new();
    for piece in parse(text).ok()? {
        match piece {
            Piece::Literal(literal) => rendered += literal,
            variable => rendered += &value(&variable)?,
        }
    }
    Some(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_fills_in() {
        let template = "nats://{username}@{host}:{port:client}/x";
        let rendered = render(template, |variable| {
            Some(match variable {
                Piece::Host => "127.0.0.1".to_owned(),
                Piece::Node => "10.89.0.2".to_owned(),
                Piece::Port(name) | Piece::File(name) => format!("<{name}>"),
                Piece::Credential(key) => (*key).to_owned(),
                Piece::Literal(_) => unreachable!(),
            })
        });
        assert_eq!(rendered.unwrap(), "nats://username@127.0.0.1:<client>/x");
        for bad in ["{", "}", "a}b{c", "{a:b}", "{{host}}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("{file:a.b}{node}"), Ok(vec![Piece::File("a.b"), Piece::Node]));
    }
}
