//! A second reader of JSON's grammar (RFC 8259), independent of the code that it is compared with.

/// A value's text, and the parts of it that the checks need.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    pub text: &'a str,
    pub kind: Kind<'a>,
}

/// The kind of a value.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// Its names, unescaped if possible, and their values.
    Object(Vec<(Option<String>, Value<'a>)>),
    Array(Vec<Value<'a>>),
    /// Unescaped; `None` if an escape encodes no character.
    String(Option<String>),
    /// A number, or one of the three words.
    Other,
}

/// Parses a text that is one value.
pub fn read(bytes: &[u8]) -> Option<Value<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    reader.space();
    (reader.at == text.len()).then_some(value)
}

impl<'a> Value<'a> {
    /// The fields of an object whose names are all known and given once.
    pub fn fields(&self, names: &[&str]) -> Option<Vec<Option<&Self>>> {
        let Kind::Object(fields) = &self.kind else { return None };
        let mut found = vec![None; names.len()];
        for (name, value) in fields {
            let place = names.iter().position(|known| name.as_deref() == Some(known))?;
            if found[place].replace(value).is_some() {
                return None;
            }
        }
        Some(found)
    }

    pub fn string(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => text.as_deref(),
            _ => None,
        }
    }

    /// Whether it is nested at most this deep, and all its strings and names are text.
    pub fn is_readable(&self, depth: usize) -> bool {
        match &self.kind {
            Kind::Object(fields) => {
                depth > 0
                    && fields
                        .iter()
                        .all(|(name, value)| name.is_some() && value.is_readable(depth - 1))
            }
            Kind::Array(values) => {
                depth > 0 && values.iter().all(|value| value.is_readable(depth - 1))
            }
            Kind::String(text) => text.is_some(),
            Kind::Other => true,
        }
    }

    pub fn is_number(&self) -> bool {
        self.text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        self.space();
        let begin = self.at;
        let kind = match self.peek()? {
            b'{' => self.object()?,
            b'[' => self.array()?,
            b'"' => Kind::String(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word()?,
        };
        Some(Value { text: &self.text[begin..self.at], kind })
    }

    fn object(&mut self) -> Option<Kind<'a>> {
        let mut fields = Vec::new();
        self.list(b'{', b'}', |reader| {
            reader.space();
            let name = reader.string()?;
            reader.space();
            reader.eat(b':')?;
            fields.push((name, reader.value()?));
            Some(())
        })?;
        Some(Kind::Object(fields))
    }

    fn array(&mut self) -> Option<Kind<'a>> {
        let mut items = Vec::new();
        self.list(b'[', b']', |reader| {
            items.push(reader.value()?);
            Some(())
        })?;
        Some(Kind::Array(items))
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.eat(open)?;
        self.space();
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.space();
            if self.eat(b',').is_none() {
                return self.eat(close);
            }
        }
    }

    fn string(&mut self) -> Option<Option<String>> {
        let begin = self.at;
        self.eat(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    let escape = self.peek()?;
                    let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
                    match escape {
                        b'u' if digits?.iter().all(u8::is_ascii_hexdigit) => self.at += 5,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        _ => return None,
                    }
                }
                0..=0x1F => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(serde_json::from_str(&self.text[begin..self.at]).ok())
    }

    fn digits(&mut self) -> Option<()> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begin).then_some(())
    }

    fn number(&mut self) -> Option<Kind<'a>> {
        let _ = self.eat(b'-');
        if self.eat(b'0').is_none() {
            self.digits()?;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if self.eat(b'e').or_else(|| self.eat(b'E')).is_some() {
            let _ = self.eat(b'+').or_else(|| self.eat(b'-'));
            self.digits()?;
        }
        Some(Kind::Other)
    }

    fn word(&mut self) -> Option<Kind<'a>> {
        let word = ["true", "false", "null"]
            .into_iter()
            .find(|word| self.text[self.at..].starts_with(word))?;
        self.at += word.len();
        Some(Kind::Other)
    }
}
