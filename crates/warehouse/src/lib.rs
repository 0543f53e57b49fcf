//! Tables, migrations, blocks, read-back, closing of days: the only crate that names clickhouse.
