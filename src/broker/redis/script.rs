//! The Lua scripts: what must happen in one piece on the server.

use std::sync::OnceLock;

use fred::types::Value as Reply;

/// A script and the name that servers give it.
pub(super) struct Script {
    /// Its text.
    pub text: &'static str,
    /// SHA-1 of the text, once a server has told; the same for all of them.
    pub sha: OnceLock<Reply>,
}

macro_rules! script {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub(super) static $name: Script = Script { text: include_str!($file), sha: OnceLock::new() };)*
    };
}

script! {
    /// Removes what is settled, then takes messages and notes them.
    EXCHANGE = "scripts/exchange.lua";
    /// Moves one held message back to its lists, unless somebody else has been there.
    GIVE_BACK = "scripts/give_back.lua";
    /// Moves held messages back to the front of their lists, without anyone reading them.
    GIVE_ALL_BACK = "scripts/give_all_back.lua";
    /// Reads held messages again and makes them young.
    READ = "scripts/read.lua";
    /// Makes held messages young.
    REFRESH = "scripts/refresh.lua";
    /// Deletes a lock that is still ours.
    UNLOCK = "scripts/unlock.lua";
    /// Binds an expiring queue and puts its exchange's deadline off.
    BIND_EXPIRING = "scripts/bind_expiring.lua";
    /// Deletes binding tables whose deadline has passed.
    SWEEP_BINDINGS = "scripts/sweep_bindings.lua";
}
