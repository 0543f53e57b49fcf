//! The forms of values that are tables, and of those that no other form fits.

use crate::form::Never;
use crate::option::{Form, Group};
use crate::schema::{self, Json, list_of, object, text};

/// What no other form fits: the schema and the words are given.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    pub schema: fn() -> Json,
    pub words: &'static str,
    /// The tables that may stand there.
    pub groups: &'static [&'static Group],
}

impl Own {
    pub(crate) const fn new(schema: fn() -> Json, words: &'static str) -> Self {
        Self { schema, words, groups: &[] }
    }

    /// With the tables that may stand there.
    pub(crate) const fn with(self, groups: &'static [&'static Group]) -> Self {
        Self { groups, ..self }
    }
}

impl Form for Own {
    type Plain = Never;

    fn schema(&self) -> Json {
        (self.schema)()
    }

    fn words(&self) -> String {
        self.words.to_owned()
    }

    fn json(&self, plain: Never) -> Json {
        match plain {}
    }

    fn groups(&self) -> Vec<&'static Group> {
        self.groups.to_vec()
    }
}

/// A table.
#[derive(Clone, Copy)]
pub(crate) struct Table(pub &'static Group);

impl Form for Table {
    type Plain = Never;

    fn schema(&self) -> Json {
        // `[ingest]` may be spread over files and the environment; a table inside another is written in one place.
        self.0.schema(!self.0.title.starts_with('['))
    }

    fn words(&self) -> String {
        "a table".to_owned()
    }

    fn json(&self, plain: Never) -> Json {
        match plain {}
    }

    fn group(&self) -> Option<&'static Group> {
        Some(self.0)
    }
}

/// A table of tables, each under a name that the operator gives it.
#[derive(Clone, Copy)]
pub(crate) struct Tables(pub &'static Group, pub &'static str);

impl Form for Tables {
    type Plain = Never;

    fn schema(&self) -> Json {
        let mut parts = vec![("type", text("object"))];
        if !self.1.is_empty() {
            parts.push(("propertyNames", object([("pattern", text(self.1))])));
        }
        parts.push(("additionalProperties", self.0.schema(true)));
        object(parts)
    }

    fn words(&self) -> String {
        "a table for each name".to_owned()
    }

    fn json(&self, plain: Never) -> Json {
        match plain {}
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![self.0]
    }
}

/// A list of tables.
#[derive(Clone, Copy)]
pub(crate) struct TableList(pub &'static Group, pub fn(Json) -> Json);

impl Form for TableList {
    type Plain = Never;

    fn schema(&self) -> Json {
        list_of((self.1)(self.0.schema(true)))
    }

    fn words(&self) -> String {
        "a list of tables".to_owned()
    }

    fn json(&self, plain: Never) -> Json {
        match plain {}
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![self.0]
    }
}

/// A table that is one of several.
#[derive(Clone, Copy)]
pub(crate) struct Variants(pub fn() -> Vec<&'static Group>);

impl Form for Variants {
    type Plain = Never;

    fn schema(&self) -> Json {
        schema::any_of((self.0)().into_iter().map(|group| group.schema(true)))
    }

    fn words(&self) -> String {
        "a table, in one of the forms below".to_owned()
    }

    fn json(&self, plain: Never) -> Json {
        match plain {}
    }

    fn groups(&self) -> Vec<&'static Group> {
        (self.0)()
    }
}
