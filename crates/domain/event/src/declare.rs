//! The two macros by which a record and a closed set of names are each declared once.

/// Declares a closed set of names as an enum that travels as its name.
#[macro_export]
macro_rules! avro_names {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every name, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name as it stands in Avro, in ClickHouse and in configuration.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The value with this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl<'a> $crate::avro::Field<'a> for $name {
            fn schema() -> String {
                r#""string""#.into()
            }
            fn default_json() -> &'static str {
                r#""""#
            }
            fn write(&self, out: &mut Vec<u8>) {
                $crate::avro::Field::write(&std::borrow::Cow::Borrowed(self.as_str()), out);
            }
            fn read(input: &mut $crate::avro::Reader<'a>) -> Result<Self, $crate::avro::DecodeError> {
                let at = input.position();
                let name: std::borrow::Cow<'a, str> = $crate::avro::Field::read(input)?;
                Self::from_name(&name).ok_or($crate::avro::DecodeError::Invalid { what: stringify!($name), at })
            }
            fn value(&self) -> $crate::avro::Value<'_> {
                $crate::avro::Value::Text(self.as_str())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// Declares an Avro record once: the struct, its columns, its schema and its codec.
///
/// Each field is `name: Type = Kind, "what it means"`.
#[macro_export]
macro_rules! avro_record {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<'a> { $($field:ident: $type:ty = $kind:ident, $doc:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        $vis struct $name<'a> { $(#[doc = $doc] pub $field: $type,)* }

        impl<'a> $name<'a> {
            /// The fields in the order of the schema.
            pub const COLUMNS: &'static [$crate::avro::Column] = &[
                $($crate::avro::Column {
                    name: $crate::avro::field_name(stringify!($field)), kind: $crate::avro::Kind::$kind, doc: $doc,
                },)*
            ];

            /// Shows every stored field, in the order of [`Self::COLUMNS`], to a column writer.
            #[inline]
            pub fn visit(&self, mut column: impl FnMut($crate::avro::Value<'_>)) {
                $(if !matches!($crate::avro::Kind::$kind, $crate::avro::Kind::Unstored) {
                    column($crate::avro::Field::value(&self.$field));
                })*
            }

            /// Appends the Avro encoding, without any header.
            pub fn encode(&self, out: &mut Vec<u8>) {
                $crate::avro::Field::write(self, out);
            }

            /// Reads one whole record, borrowing its texts.
            ///
            /// # Errors
            /// When the bytes are not exactly one such record.
            pub fn decode(bytes: &'a [u8]) -> Result<Self, $crate::avro::DecodeError> {
                let mut input = $crate::avro::Reader::new(bytes);
                let record = $crate::avro::Field::read(&mut input)?;
                input.finish()?;
                Ok(record)
            }

            /// The Avro schema as JSON, one field a line; the file in `schemas/` equals it.
            pub fn schema() -> String {
                <Self as $crate::avro::Field<'a>>::schema()
            }
        }

        impl<'a> $crate::avro::Field<'a> for $name<'a> {
            fn schema() -> String {
                let fields: Vec<String> = vec![$(format!(
                    "    {{\"name\": \"{}\", \"type\": {}, \"default\": {}, \"doc\": \"{}\"}}",
                    $crate::avro::field_name(stringify!($field)),
                    <$type as $crate::avro::Field<'a>>::schema(),
                    <$type as $crate::avro::Field<'a>>::default_json(),
                    $doc,
                ),)*];
                format!(
                    "{{\n  \"type\": \"record\",\n  \"name\": \"{}\",\n  \"namespace\": \"hookline.v1\",\n  \"fields\": [\n{}\n  ]\n}}",
                    stringify!($name),
                    fields.join(",\n"),
                )
            }
            fn default_json() -> &'static str {
                "{}"
            }
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::avro::Field::write(&self.$field, out);)*
            }
            fn read(input: &mut $crate::avro::Reader<'a>) -> Result<Self, $crate::avro::DecodeError> {
                Ok(Self { $($field: $crate::avro::Field::read(input)?,)* })
            }
        }
    };
}
