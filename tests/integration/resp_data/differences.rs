//! Where jeton answers something else than Redis, on purpose: each by name, with its reason and with
//! what jeton answers. The chapter of the book lists the same names.

/// One difference.
pub struct Difference {
    /// How the scripts and the book call it.
    pub name: &'static str,
    /// What jeton's answer begins with; no number in it is negative.
    pub jeton: &'static str,
    /// Why it is so.
    pub why: &'static str,
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "default-ttl",
        jeton: ":",
        why: "a token without a deadline of its own has that of --default-ttl: TTL is never -1",
    },
    Difference {
        name: "max-ttl",
        jeton: "-ERR invalid expire time in '",
        why: "a deadline beyond --max-ttl is refused, and not cut in silence",
    },
    Difference {
        name: "always-a-deadline",
        jeton: ":",
        why: "every key has a deadline, so NX of EXPIRE never holds, and XX always does",
    },
    Difference {
        name: "no-persist",
        jeton: "-ERR PERSIST is not possible",
        why: "a token has a deadline, always",
    },
    Difference {
        name: "key-length",
        jeton: "-ERR a key has 1 to 512 bytes",
        why: "names are 1 to 512 bytes",
    },
    Difference { name: "value-length", jeton: "-ERR a value has at most ", why: "--max-payload" },
    Difference {
        name: "list-length",
        jeton: "-ERR at most ",
        why: "--max-batch: a command of very many keys would make all others wait",
    },
    Difference {
        name: "zero-byte",
        jeton: "-ERR ",
        why: "Redis compares options as C strings, so that what follows a zero byte is ignored",
    },
    Difference {
        name: "unknown-command",
        jeton: "-ERR unknown command '",
        why: "names are not kept, and values are not changed in place",
    },
];

/// The difference of a name.
pub fn difference(name: &str) -> &'static Difference {
    let found = DIFFERENCES.iter().find(|difference| difference.name == name);
    found.unwrap_or_else(|| panic!("no difference is called {name}"))
}

#[test]
fn the_book_lists_each_difference() {
    let book = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/api/redis.md");
    let book = std::fs::read_to_string(book).expect("the chapter");
    for Difference { name, why, .. } in DIFFERENCES {
        assert!(book.contains(&format!("`{name}`")), "{name} ({why}) is not in the book");
    }
}
