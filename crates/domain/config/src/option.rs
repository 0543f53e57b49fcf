//! Options: each key is declared once, beside its reader, and read, checked and documented by that.
//!
//! An [`Opt`] is a key with its form (how the value is written), its default, what it means and an example. A [`Group`]
//! is a table: the keys that it may have. The readers take declarations and not names, so a key, a bound or a default
//! stands in one place. docs/configuration.md and schemas/hookline.schema.json are written from the same declarations.

use crate::schema::{Json, object, text};

/// How a value is written.
pub(crate) trait Form: Copy + Sync + 'static {
    /// A default of this form, as a constant.
    type Plain: Copy + Sync + 'static;

    /// What an editor is to take.
    fn schema(&self) -> Json;

    /// The same in words, with the unit: "a duration, 1s to 1h".
    fn words(&self) -> String;

    /// A default as JSON has it.
    fn json(&self, plain: Self::Plain) -> Json;

    /// The table that stands under the key, where it is one.
    fn group(&self) -> Option<&'static Group> {
        None
    }

    /// The tables that may stand under the key, or under the names there.
    fn groups(&self) -> Vec<&'static Group> {
        self.group().into_iter().collect()
    }

    /// Those tables as the page shows them; `parent` is the heading above.
    fn pages(&self, parent: &str) -> Vec<Page> {
        self.groups().into_iter().map(|group| group.page(&group.heading(parent))).collect()
    }
}

/// A key of a table.
pub(crate) struct Opt<F: Form> {
    /// The key.
    pub key: &'static str,
    /// How its value is written.
    pub form: F,
    /// What it means.
    pub about: &'static str,
    /// A value as it may be, in TOML.
    pub example: &'static str,
    /// What holds where the key is left out, if it is a constant.
    pub default: Option<F::Plain>,
    /// What holds where the key is left out, in words, if it is not a constant.
    pub otherwise: &'static str,
    /// What to write, where the key must not be left out.
    pub required: Option<&'static str>,
    /// The services that read it, where they are others than those of the table.
    pub read_by: &'static str,
}

impl<F: Form> Opt<F> {
    /// A key that may be left out.
    pub(crate) const fn new(key: &'static str, form: F, about: &'static str, example: &'static str) -> Self {
        Self { key, form, about, example, default: None, otherwise: "", required: None, read_by: "" }
    }

    /// With what holds where it is left out.
    pub(crate) const fn or(self, plain: F::Plain) -> Self {
        Self { default: Some(plain), ..self }
    }

    /// With what holds where it is left out, in words.
    pub(crate) const fn otherwise(self, words: &'static str) -> Self {
        Self { otherwise: words, ..self }
    }

    /// It must not be left out; `hint` says what to write.
    pub(crate) const fn required(self, hint: &'static str) -> Self {
        Self { required: Some(hint), ..self }
    }

    /// What holds where it is left out. For keys that have been given one by [`Opt::or`]; a test holds that.
    pub(crate) fn usual(&self) -> F::Plain
    where
        F::Plain: Default,
    {
        debug_assert!(self.default.is_some(), "{:?} has no default", self.key);
        self.default.unwrap_or_default()
    }

    /// With the services that read it.
    pub(crate) const fn read_by(self, services: &'static str) -> Self {
        Self { read_by: services, ..self }
    }
}

/// A key, whatever its form.
pub(crate) trait Declared: Sync {
    /// The key.
    fn key(&self) -> &'static str;
    /// Whether it must not be left out.
    fn is_required(&self) -> bool;
    /// What an editor is to take and to say.
    fn schema(&self) -> Json;
    /// Its line of the page.
    fn row(&self) -> Row;
    /// The tables that stand under it.
    fn pages(&self, parent: &str) -> Vec<Page>;
    /// The tables that may stand under it.
    #[cfg(test)]
    fn groups(&self) -> Vec<&'static Group>;
}

impl<F: Form> Declared for Opt<F> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn is_required(&self) -> bool {
        self.required.is_some()
    }

    fn schema(&self) -> Json {
        let about = match (self.default, self.otherwise) {
            (Some(plain), _) => format!("{} Left out: `{}`.", self.about, self.form.json(plain).toml()),
            (None, "") => self.about.to_owned(),
            (None, otherwise) => format!("{} Left out: {otherwise}.", self.about),
        };
        let mut parts = vec![("description".to_owned(), text(about))];
        parts.extend(self.default.map(|plain| ("default".to_owned(), self.form.json(plain))));
        object(parts).with_all(self.form.schema())
    }

    fn row(&self) -> Row {
        let left_out = match (self.required, self.default) {
            (Some(_), _) => "**required**".to_owned(),
            (None, Some(plain)) => format!("`{}`", self.form.json(plain).toml()),
            (None, None) => self.otherwise.to_owned(),
        };
        Row {
            key: self.key.to_owned(),
            form: self.form.words(),
            left_out,
            example: self.example.to_owned(),
            about: self.about.to_owned(),
            read_by: self.read_by.to_owned(),
        }
    }

    fn pages(&self, parent: &str) -> Vec<Page> {
        self.form.pages(parent)
    }

    #[cfg(test)]
    fn groups(&self) -> Vec<&'static Group> {
        self.form.groups()
    }
}

/// A table: the keys that it may have.
pub(crate) struct Group {
    /// Its heading: `[ingest]`, or `quota` for a table inside another.
    pub title: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The services that read it.
    pub read_by: &'static str,
    /// Its keys.
    pub options: &'static [&'static dyn Declared],
    /// Keys beside those.
    pub others: &'static [Others],
}

/// Keys of one form.
pub(crate) enum Others {
    /// Those of a list that stands elsewhere, such as the fields of an event.
    Listed(fn() -> Vec<&'static str>, &'static dyn Declared),
    /// Those that the operator makes up; the text is the pattern that they fit, if there is one.
    Named(&'static str, &'static dyn Declared),
}

impl Group {
    /// Whether the table may have the key.
    pub(crate) fn declares(&self, key: &str) -> bool {
        self.options.iter().any(|option| option.key() == key)
            || self.others.iter().any(|others| match others {
                Others::Listed(keys, _) => keys().contains(&key),
                Others::Named(..) => true,
            })
    }

    /// What an editor is to take. `whole`: the table stands in one place of one file, so what is required is there.
    /// The keys of `[ingest]` and the like may be spread over files, or come from the environment.
    pub(crate) fn schema(&self, whole: bool) -> Json {
        let mut properties: Vec<(String, Json)> =
            self.options.iter().map(|option| (option.key().to_owned(), option.schema())).collect();
        let (mut more, mut names) = (Json::Flag(false), Vec::new());
        for others in self.others {
            match others {
                Others::Listed(keys, form) => {
                    properties.extend(keys().into_iter().map(|key| (key.to_owned(), form.schema())));
                }
                Others::Named(pattern, form) => {
                    more = form.schema();
                    if !pattern.is_empty() {
                        names = vec![("propertyNames".to_owned(), object([("pattern", text(*pattern))]))];
                    }
                }
            }
        }
        let required: Vec<Json> =
            self.options.iter().filter(|option| option.is_required()).map(|option| text(option.key())).collect();
        let mut parts = vec![("type".to_owned(), text("object"))];
        if !properties.is_empty() {
            parts.push(("properties".to_owned(), Json::Map(properties)));
        }
        parts.extend(names);
        parts.push(("additionalProperties".to_owned(), more));
        if whole && !required.is_empty() {
            parts.push(("required".to_owned(), Json::List(required)));
        }
        Json::Map(parts)
    }

    /// Its heading under another: `[ingest]`, or `quota of [source.NAME]`.
    fn heading(&self, parent: &str) -> String {
        if self.title.starts_with('[') { self.title.to_owned() } else { format!("{} of {parent}", self.title) }
    }

    /// The part of the page, under the heading `title`.
    pub(crate) fn page(&self, title: &str) -> Page {
        let mut rows: Vec<Row> = self.options.iter().map(|option| option.row()).collect();
        let mut below: Vec<Page> = self.options.iter().flat_map(|option| option.pages(title)).collect();
        for others in self.others {
            let (name, declared) = match others {
                Others::Listed(keys, form) => (keys().join("`, `"), form),
                Others::Named(_, form) => (form.key().to_owned(), form),
            };
            rows.push(Row { key: name, ..declared.row() });
            below.extend(declared.pages(title));
        }
        Page { title: title.to_owned(), about: self.about.to_owned(), read_by: self.read_by.to_owned(), rows, below }
    }
}

/// A table as the page shows it.
pub(crate) struct Page {
    pub title: String,
    pub about: String,
    pub read_by: String,
    pub rows: Vec<Row>,
    pub below: Vec<Page>,
}

/// A key as the page shows it.
pub(crate) struct Row {
    pub key: String,
    pub form: String,
    pub left_out: String,
    pub example: String,
    pub about: String,
    pub read_by: String,
}
