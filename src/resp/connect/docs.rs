//! A sentence on each command, for `COMMAND DOCS`.

/// Makes the function from one line for each command: its name, its group, and a sentence.
macro_rules! docs {
    ($($name:literal, $group:literal, $summary:literal;)+) => {
        /// The group and the sentence of a command.
        pub(super) fn of(name: &str) -> (&'static str, &'static str) {
            match name {
                $($name => ($group, $summary),)+
                _ => ("generic", ""),
            }
        }
    };
}

docs! {
    "AUTH", "connection", "Authenticates the connection with a key of jeton.";
    "CLIENT", "connection", "A container for client connection commands.";
    "COMMAND", "server", "Returns detailed information about all commands.";
    "CONFIG", "server", "A container for server configuration commands.";
    "DBSIZE", "server", "Returns the number of tokens in the caller's namespace.";
    "DEL", "generic", "Revokes one or more tokens.";
    "DISCARD", "transactions", "Discards a transaction.";
    "ECHO", "connection", "Returns the given string.";
    "EXEC", "transactions", "Executes all commands in a transaction: all or nothing.";
    "EXISTS", "generic", "Determines whether one or more tokens exist.";
    "EXPIRE", "generic", "Sets the deadline of a token in seconds, also to an earlier one.";
    "EXPIREAT", "generic", "Sets the deadline of a token to a Unix timestamp.";
    "EXPIRETIME", "generic", "Returns the deadline of a token as a Unix timestamp.";
    "GET", "string", "Resolves a token: returns its value.";
    "GETDEL", "string", "Consumes a use of a token and returns its value.";
    "GETEX", "string", "Returns the value of a token after setting its deadline.";
    "HELLO", "connection", "Handshakes with the server.";
    "INFO", "server", "Returns information and statistics about the server.";
    "MGET", "string", "Resolves one or more tokens.";
    "MSET", "string", "Stores the values of one or more names: all or nothing.";
    "MULTI", "transactions", "Starts a transaction.";
    "PEXPIRE", "generic", "Sets the deadline of a token in milliseconds, also to an earlier one.";
    "PEXPIREAT", "generic", "Sets the deadline of a token to a Unix milliseconds timestamp.";
    "PEXPIRETIME", "generic", "Returns the deadline of a token as a Unix milliseconds timestamp.";
    "PING", "connection", "Returns the server's liveliness response.";
    "PSETEX", "string", "Stores a value under a name, with a lifetime in milliseconds.";
    "PTTL", "generic", "Returns the lifetime of a token that is left, in milliseconds.";
    "QUIT", "connection", "Closes the connection.";
    "RESET", "connection", "Resets the connection.";
    "SELECT", "connection", "Changes the selected database; there is one, 0.";
    "SET", "string", "Stores a value under a name that the client chose.";
    "SETEX", "string", "Stores a value under a name, with a lifetime in seconds.";
    "SETNX", "string", "Stores a value under a name only when the name is free.";
    "STRLEN", "string", "Returns the length of a value.";
    "TIME", "server", "Returns the server time.";
    "TOKEN.CONSUME", "token", "Consumes a use of a token and returns its value.";
    "TOKEN.EXTEND", "token", "Moves the deadline of a token later.";
    "TOKEN.INTROSPECT", "token", "Tells whether a token is active, with its value and times, as JSON.";
    "TOKEN.ISSUE", "token", "Issues a token for a value.";
    "TOKEN.MCONSUME", "token", "Consumes a use of each of many tokens.";
    "TOKEN.MEXTEND", "token", "Moves the deadlines of many tokens later.";
    "TOKEN.MISSUE", "token", "Issues a token for each of many values.";
    "TOKEN.MRESOLVE", "token", "Returns the values of many tokens.";
    "TOKEN.MREVOKE", "token", "Revokes many tokens.";
    "TOKEN.MSTATUS", "token", "Returns the status of many tokens.";
    "TOKEN.RESOLVE", "token", "Returns the value of a token.";
    "TOKEN.REVOKE", "token", "Revokes a token.";
    "TOKEN.STATUS", "token", "Returns the status of a token, without its value.";
    "TTL", "generic", "Returns the lifetime of a token that is left, in seconds.";
    "TYPE", "generic", "Determines the type of value: string, or none.";
    "UNLINK", "generic", "Revokes one or more tokens.";
    "UNWATCH", "transactions", "Accepted; nothing is ever watched.";
    "WATCH", "transactions", "Refused: use a transaction, or SET with NX or XX.";
}
