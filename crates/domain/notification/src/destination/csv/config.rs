//! The section of a CSV file.

use super::render::Csv;
use crate::destination::{Destination, Fault, Form, Kind, Reach, Setting, Values};

pub(in crate::destination) const KIND: Kind = Kind {
    name: "csv",
    settings: &[Setting {
        key: "path",
        about: "The file that rows are appended to.",
        left_out: "",
        form: Form::Path,
        required: Some("name the file to append to"),
        example: "alerts.csv",
    }],
    keyed: false,
    acknowledges: false,
    reach: Reach::File,
    build,
};

fn build(values: &Values) -> Result<Box<dyn Destination>, Fault> {
    match values.path("path") {
        Some(path) => Ok(Box::new(Csv { path: path.to_owned() })),
        None => Err(Fault::new("path", "no file is named", "name the file to append to")),
    }
}
