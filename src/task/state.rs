//! [`State`]: what handlers share, given to the app once.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    ops::Deref,
    sync::Arc,
};

/// A shared value that a handler asks for by its type: `async fn send(State(smtp): State<Smtp>, ...)`.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// One value for each type.
#[derive(Default, Clone)]
pub struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// Adds or replaces the value of its type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type.
    pub fn find<T: Send + Sync + 'static>(&self) -> Option<State<T>> {
        self.0.get(&TypeId::of::<T>())?.clone().downcast().ok().map(State)
    }

    /// The name of the type, if there is no value of it.
    pub fn lacks<T: Send + Sync + 'static>(&self) -> Option<&'static str> {
        (!self.0.contains_key(&TypeId::of::<T>())).then(type_name::<T>)
    }
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").field("len", &self.0.len()).finish_non_exhaustive()
    }
}
