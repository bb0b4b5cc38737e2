//! What an expression may refer to: declared variables, a container of names, an event type.
//!
//! Filters use the environment of their event type; free environments serve tests of the language
//! itself. It only says what there is: `expression.rs` checks by it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::event::{Class, Declared, EventType, Field as DeclaredField, FieldType, Root};

use super::overloads::{Function, Signature, list_helper};
use super::types::Type;

/// The names that an expression may use, and how strictly it is looked at.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<String, Type>,
    functions: BTreeMap<String, Vec<Declaration>>,
    container: String,
    checked: bool,
    macros: bool,
    event_type: Option<Arc<EventType>>,
    list_helpers: bool,
}

/// A function that is declared but has no implementation: calls are checked, and fail when they run.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Its parameters, the receiver first; type variables number from 0.
    pub parameters: Vec<Type>,
    /// The type that the whole expression has.
    pub result: Type,
    /// It is called on its first parameter.
    pub receiver: bool,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            container: String::new(),
            checked: true,
            macros: true,
            event_type: None,
            list_helpers: false,
        }
    }
}

impl Environment {
    /// The environment of filters on an event type: `ev` and `event`.
    #[must_use]
    pub fn of_events(event_type: &Arc<EventType>) -> Environment {
        let group = |root| Type::Group(root, String::new());
        let variables = BTreeMap::from([
            ("ev".to_owned(), group(Root::Object)),
            ("event".to_owned(), group(Root::Envelope)),
        ]);
        let event_type = Some(Arc::clone(event_type));
        Environment { variables, event_type, ..Environment::default() }
    }

    /// The environment of filters on a list of resources: one of them, `obj`, and `time.now`, whose
    /// instants also have `.add("24h")` and `.subtract("7d")`, as ngrok's API filters do.
    #[must_use]
    pub fn of_lists() -> Environment {
        let environment = Environment { list_helpers: true, ..Environment::default() };
        environment.variable("obj", Type::Dyn).variable("time.now", Type::Timestamp)
    }

    /// Declares a variable; its name may have dots.
    #[must_use]
    pub fn variable(mut self, name: &str, declared: Type) -> Environment {
        self.variables.insert(name.to_owned(), declared);
        self
    }

    /// Declares an overload of a function; its name may have dots.
    #[must_use]
    pub fn function(mut self, name: &str, declared: Declaration) -> Environment {
        self.functions.entry(name.to_owned()).or_default().push(declared);
        self
    }

    /// Names are looked up in this container and those around it first.
    #[must_use]
    pub fn container(self, name: &str) -> Environment {
        Environment { container: name.to_owned(), ..self }
    }

    /// Leaves types to run time: unknown names and wrong types are then evaluation errors.
    #[must_use]
    pub fn unchecked(self) -> Environment {
        Environment { checked: false, ..self }
    }

    /// Leaves calls such as `list.all(x, p)` what they are.
    #[must_use]
    pub fn without_macros(self) -> Environment {
        Environment { macros: false, ..self }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.checked
    }

    pub(super) fn has_macros(&self) -> bool {
        self.macros
    }

    pub(super) fn has_event_type(&self) -> bool {
        self.event_type.is_some()
    }

    pub(super) fn declared_variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    pub(super) fn declared_function(&self, name: &str) -> impl Iterator<Item = &Declaration> {
        self.functions.get(name).into_iter().flatten()
    }

    /// A function that only filters on lists have.
    pub(super) fn list_helper(&self, name: &str) -> Option<&'static Function> {
        self.list_helpers.then(|| list_helper(name)).flatten()
    }

    pub(super) fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// A name as it may be meant inside the container, the innermost first.
    pub(super) fn candidates<'n>(&'n self, name: &'n str) -> impl Iterator<Item = String> + 'n {
        let mut scope = Some(self.container.as_str()).filter(|scope| !scope.is_empty());
        let scoped = std::iter::from_fn(move || {
            let present = scope?;
            scope = present.rsplit_once('.').map(|(outer, _)| outer);
            Some(format!("{present}.{name}"))
        });
        scoped.chain(std::iter::once(name.to_owned()))
    }

    /// What stands at a path under `ev` or `event`.
    pub(super) fn declared(&self, root: Root, path: &str) -> Declared<'_> {
        self.schema(root).map_or(Declared::Nothing, |schema| schema.declared(path))
    }

    /// The type that describes a root's fields.
    pub(super) fn schema(&self, root: Root) -> Option<&EventType> {
        match root {
            Root::Object => self.event_type.as_deref(),
            Root::Envelope => Some(&ENVELOPE),
        }
    }

    /// The event type's name, which is what `event.event_type` is.
    pub(super) fn event_type_name(&self) -> &str {
        self.event_type.as_ref().map_or("", |event_type| &event_type.name)
    }
}

impl Declaration {
    pub(super) fn signature(&self) -> Signature {
        Signature::new(self.parameters.clone(), self.result.clone())
    }
}

static ENVELOPE: LazyLock<EventType> = LazyLock::new(|| {
    let field = |name: &str, field_type| DeclaredField {
        name: name.to_owned(),
        field_type,
        description: String::new(),
    };
    let text = |name| field(name, FieldType::String);
    EventType {
        name: "the event's envelope".to_owned(),
        class: Class::Custom,
        description: String::new(),
        fields: vec![
            text("event_id"),
            text("event_type"),
            field("event_timestamp", FieldType::Timestamp),
            text("account_id"),
            text("principal.id"),
            text("principal.subject"),
            text("principal.source"),
            text("principal.credential.id"),
            text("principal.credential.uri"),
        ],
    }
});
