//! [`Tables`]: Celery's two tables as SQLAlchemy makes them (`celery/backends/database/models.py`), and the statements
//! on them. Text only.

use crate::backend::{DatabaseSettings, database::url::Dialect};

/// Types of columns, as SQLAlchemy calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    String(u16),
    LargeBinary,
    DateTime,
    Text,
    Integer,
}

pub(super) type Column = (&'static str, Kind);

/// Columns that every row has, after the id and the task's id.
const BASE: [Column; 4] = [
    ("status", Kind::String(50)),
    ("result", Kind::LargeBinary),
    ("date_done", Kind::DateTime),
    ("traceback", Kind::Text),
];
const CHILDREN: Column = ("children", Kind::LargeBinary);
const EXTENDED: [Column; 6] = [
    ("name", Kind::String(155)),
    ("args", Kind::LargeBinary),
    ("kwargs", Kind::LargeBinary),
    ("worker", Kind::String(155)),
    ("retries", Kind::Integer),
    ("queue", Kind::String(155)),
];
const STAMPS: Column = ("stamps", Kind::LargeBinary);

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// Of its ids, where the dialect has sequences.
    sequence: &'static str,
    /// The column that is unique.
    key: &'static str,
    index: &'static str,
    /// All columns.
    pub(super) columns: Vec<Column>,
}

/// Both tables, for one dialect and one version of Celery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) dialect: Dialect,
    pub(super) task: Table,
    pub(super) group: Table,
    /// Whether ids come from sequences: PostgreSQL, and MariaDB since 10.3.
    pub(super) has_sequences: bool,
    /// Whether the server has indexes on `date_done` (since 5.6).
    has_index: bool,
    /// Whether missing columns are added, and nothing replaces a success (since 5.7).
    pub(super) is_careful: bool,
}

impl Tables {
    /// As the settings name them.
    pub(super) fn new(dialect: Dialect, settings: &DatabaseSettings, version: (u16, u16)) -> Self {
        let is_careful = version >= (5, 7);
        let mut task = vec![("id", Kind::Id), ("task_id", Kind::String(155))];
        task.extend(BASE);
        task.extend(is_careful.then_some(CHILDREN));
        // Celery's two classes of rows share one table: it has all columns, extended or not.
        task.extend(EXTENDED);
        task.extend(is_careful.then_some(STAMPS));
        let group = [
            ("id", Kind::Id),
            ("taskset_id", Kind::String(155)),
            ("result", Kind::LargeBinary),
            ("date_done", Kind::DateTime),
        ];
        let name = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
        Self {
            dialect,
            task: Table {
                schema: settings.task_schema.clone(),
                name: name(&settings.task_table, "celery_taskmeta"),
                sequence: "task_id_sequence",
                key: "task_id",
                index: "ix_celery_taskmeta_date_done",
                columns: task,
            },
            group: Table {
                schema: settings.group_schema.clone(),
                name: name(&settings.group_table, "celery_tasksetmeta"),
                sequence: "taskset_id_sequence",
                key: "taskset_id",
                index: "ix_celery_tasksetmeta_date_done",
                columns: group.to_vec(),
            },
            has_sequences: dialect == Dialect::Postgres,
            has_index: version >= (5, 6),
            is_careful,
        }
    }

    /// The columns that a write sets, besides the task's id: of those that the table has by now.
    pub(super) fn written(&self, is_extended: bool, existing: &[String]) -> Vec<Column> {
        let mut columns = BASE.to_vec();
        columns.extend(self.is_careful.then_some(CHILDREN));
        if is_extended {
            columns.extend(EXTENDED);
            columns.extend(self.is_careful.then_some(STAMPS));
        }
        let is_added_later = |column: &Column| [CHILDREN, STAMPS].contains(column);
        columns.retain(|column| !is_added_later(column) || existing.iter().any(|name| name == column.0));
        columns
    }

    /// What makes a table that is not there.
    pub(super) fn create(&self, table: &Table) -> Vec<String> {
        let name = self.name(table);
        let mut columns: Vec<_> =
            table.columns.iter().map(|(column, kind)| format!("\t{column} {}", self.type_of(*kind))).collect();
        if self.dialect != Dialect::Sqlite {
            columns.push("\tPRIMARY KEY (id)".to_owned());
        }
        columns.push(format!("\tUNIQUE ({})", table.key));
        let mut statements = Vec::new();
        if self.has_sequences {
            statements.push(format!("CREATE SEQUENCE IF NOT EXISTS {}", self.sequence(table)));
        }
        statements.push(format!("CREATE TABLE {name} (\n{}\n)", columns.join(", \n")));
        if self.has_index {
            let if_not_exists = if self.dialect == Dialect::Mysql { "" } else { "IF NOT EXISTS " };
            statements.push(format!("CREATE INDEX {if_not_exists}{} ON {name} (date_done)", table.index));
        }
        statements
    }

    /// What adds the columns that an older Celery did not have; only for those it is not needed that it succeeds.
    pub(super) fn missing(&self, table: &Table, existing: &[String]) -> Vec<String> {
        let is_missing = |(column, kind): &&Column| *kind != Kind::Id && !existing.iter().any(|name| name == column);
        let missing = table.columns.iter().filter(is_missing).filter(|_| self.is_careful);
        let add = |(column, kind): &Column| {
            format!("ALTER TABLE {} ADD COLUMN {} {}", self.name(table), self.quoted(column), self.type_of(*kind))
        };
        missing.map(add).collect()
    }

    /// The name in statements.
    pub(super) fn name(&self, table: &Table) -> String {
        self.qualified(table, &table.name)
    }

    /// The next id; none where the table makes it by itself.
    pub(super) fn next_id(&self, table: &Table) -> Option<String> {
        let sequence = self.sequence(table);
        match self.dialect {
            _ if !self.has_sequences => None,
            Dialect::Postgres => Some(format!("nextval('{}')", sequence.replace('\'', "''"))),
            _ => Some(format!("nextval({sequence})")),
        }
    }

    /// Selects `status`, `result`, `date_done` as text, `traceback` and, where there are any, `children` of a task.
    pub(super) fn select(&self, existing: &[String], parameter: &str) -> String {
        let date_done = match self.dialect {
            Dialect::Sqlite => "date_done",
            Dialect::Postgres => "date_done::text",
            Dialect::Mysql => "CAST(date_done AS CHAR)",
        };
        let children = if existing.iter().any(|name| name == CHILDREN.0) { CHILDREN.0 } else { "NULL" };
        let name = self.name(&self.task);
        format!("SELECT status, result, {date_done}, traceback, {children} FROM {name} WHERE task_id = {parameter}")
    }

    /// Updates a row in place; its parameters are the columns, after `date_done` the time it is now, and the task's id.
    pub(super) fn update(&self, columns: &[Column], mut parameter: impl FnMut() -> String) -> String {
        let mut set = Vec::new();
        for (column, _) in columns {
            let value = parameter();
            set.push(match *column {
                // What SQLAlchemy's `onupdate` comes to where Celery writes none over none.
                "date_done" => {
                    let now = parameter();
                    format!("date_done = COALESCE({value}, CASE WHEN date_done IS NULL THEN {now} END)")
                }
                "stamps" => format!("stamps = COALESCE({value}, stamps)"),
                column => format!("{column} = {value}"),
            });
        }
        let guard = match self.dialect {
            _ if !self.is_careful => "",
            Dialect::Sqlite => " AND status IS NOT 'SUCCESS'",
            Dialect::Postgres => " AND status IS DISTINCT FROM 'SUCCESS'",
            Dialect::Mysql => " AND NOT (status <=> 'SUCCESS')",
        };
        format!("UPDATE {} SET {} WHERE task_id = {}{guard}", self.name(&self.task), set.join(", "), parameter())
    }

    /// The columns of an insert with those values, and the values: with the id, where that must be given.
    pub(super) fn insert(&self, columns: &[Column], task_id: &str, values: &[String]) -> (String, String) {
        let id = self.next_id(&self.task);
        let names = id.iter().map(|_| "id").chain(["task_id"]).chain(columns.iter().map(|(name, _)| *name));
        let names = names.collect::<Vec<_>>().join(", ");
        let values = id.as_deref().into_iter().chain([task_id]).chain(values.iter().map(String::as_str));
        (format!("INSERT INTO {} ({names})", self.name(&self.task)), values.collect::<Vec<_>>().join(", "))
    }

    fn sequence(&self, table: &Table) -> String {
        self.qualified(table, table.sequence)
    }

    fn qualified(&self, table: &Table, name: &str) -> String {
        match &table.schema {
            Some(schema) => format!("{}.{}", self.quoted(schema), self.quoted(name)),
            None => self.quoted(name),
        }
    }

    fn quoted(&self, name: &str) -> String {
        let quote = if self.dialect == Dialect::Mysql { '`' } else { '"' };
        let doubled = name.replace(quote, &format!("{quote}{quote}"));
        format!("{quote}{doubled}{quote}")
    }

    fn type_of(&self, kind: Kind) -> String {
        match (kind, self.dialect) {
            (Kind::Id, Dialect::Sqlite) => "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT".to_owned(),
            (Kind::Id, Dialect::Mysql) if !self.has_sequences => "INTEGER NOT NULL AUTO_INCREMENT".to_owned(),
            (Kind::Id, _) => "INTEGER NOT NULL".to_owned(),
            (Kind::String(length), _) => format!("VARCHAR({length})"),
            (Kind::LargeBinary, Dialect::Postgres) => "BYTEA".to_owned(),
            (Kind::LargeBinary, _) => "BLOB".to_owned(),
            (Kind::DateTime, Dialect::Postgres) => "TIMESTAMP WITHOUT TIME ZONE".to_owned(),
            (Kind::DateTime, _) => "DATETIME".to_owned(),
            (Kind::Text, _) => "TEXT".to_owned(),
            (Kind::Integer, _) => "INTEGER".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        let settings = DatabaseSettings {
            task_table: Some("My \"Task".into()),
            task_schema: Some("res".into()),
            ..DatabaseSettings::default()
        };
        let tables = Tables::new(Dialect::Postgres, &settings, (5, 7));
        assert_eq!(tables.name(&tables.task), r#""res"."My ""Task""#);
        assert_eq!(tables.next_id(&tables.task).as_deref(), Some(r#"nextval('"res"."task_id_sequence"')"#));
        let tables = Tables::new(Dialect::Mysql, &DatabaseSettings::default(), (5, 7));
        assert_eq!((tables.name(&tables.group), tables.next_id(&tables.group)), ("`celery_tasksetmeta`".into(), None));
    }

    #[test]
    fn columns_follow_celerys_version() {
        let names = |version| {
            let tables = Tables::new(Dialect::Sqlite, &DatabaseSettings::default(), version);
            tables.task.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(names((5, 6)).len(), 12);
        assert_eq!((names((5, 7))[6], names((5, 7)).last()), ("children", Some(&"stamps")));
    }

    #[test]
    fn only_missing_columns_are_added() {
        let tables = Tables::new(Dialect::Sqlite, &DatabaseSettings::default(), (5, 7));
        let old = Tables::new(Dialect::Sqlite, &DatabaseSettings::default(), (5, 6));
        let existing: Vec<_> = old.task.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let added = tables.missing(&tables.task, &existing);
        let of = |column| format!("ALTER TABLE \"celery_taskmeta\" ADD COLUMN \"{column}\" BLOB");
        assert_eq!(added, [of("children"), of("stamps")]);
        assert!(old.missing(&old.task, &[]).is_empty());
    }
}
