//! What is asked of both servers within `MULTI` and `EXEC`. The signs are those of `scripts`.

pub const SCRIPTS: &[(&str, &str)] = &[
    ("multi", MULTI),
    ("multi-order", ORDER),
    ("multi-errors", ERRORS),
    ("multi-aborts", ABORTS),
    ("multi-many", MANY),
];

const MULTI: &str = r"
    EXEC
    EXEC x
    DISCARD
    MULTI
    EXEC
    MULTI
    DISCARD
    EXEC
    MULTI
    SET %a 1 EX 100
    GET %a
    EXEC
    GET %a
    MULTI
    SET %a 2 EX 100
    DISCARD
    GET %a
    MULTI
    MULTI
    GET %a
    EXEC
    multi
    get %a
    exec
";

const ORDER: &str = r"
    MULTI
    SET %a 1 EX 100
    SET %a 2 GET EX 100
    GET %a
    SET %a 3 NX EX 100
    SET %b 3 XX EX 100
    EXISTS %a %b %a
    GETDEL %a
    GET %a
    GETDEL %a
    SET %a 4 NX GET EX 100
    SET %a 5 XX GET KEEPTTL
    STRLEN %a
    TYPE %a
    DEL %a %a
    TYPE %a
    UNLINK %a
    EXEC
    EXISTS %a %b
    MULTI
    SET %a 1 EX 100
    TTL %a
    EXPIRE %a 1000
    TTL %a
    EXPIRE %a 500 GT
    EXPIRE %a 400 LT
    EXPIRE %a 400 NX
    PTTL %a
    EXPIRETIME %a
    PEXPIRETIME %a
    GETEX %a EX 200
    TTL %a
    GETEX %a
    EXPIRE %a -1
    TTL %a
    EXPIRE %a 100
    GETEX %a EX 100
    ~EXEC
    MULTI
    SET %a 1 EX 100
    GETEX %a PXAT 1
    GET %a
    SET %a 2 EXAT 1
    GET %a
    SET %a 3 NX EX 100
    SET %a 4 XX GET EXAT 1
    GET %a
    EXEC
";

const ERRORS: &str = r"
    MULTI
    SET %a 1 EX 100
    SET %a 2 EX 0
    SET %a 2 EX 10 PX 10
    SET %a 2 EX abc
    EXPIRE %a abc
    EXPIRE %a 10 NX XX
    EXPIRE %a 10 foo
    MSET %a 1 %b
    SETEX %a 0 1
    GETEX %a EX 0
    GETEX %nope EX 0
    GET %a
    EXEC
    GET %a
    MULTI
    SET %a 3 EX 100
    DISCARD
    GET %a
";

const ABORTS: &str = r"
    MULTI
    SET %a 1 EX 100
    GET
    GET %a
    EXEC
    GET %a
    MULTI
    SET %a 1 EX 100
    SET %a
    DISCARD
    EXEC
    GET %a
    MULTI
    MULTI x
    EXEC
    MULTI
    EXEC x
    GET %a
    EXEC
    MULTI
    DISCARD x
    EXEC
    MULTI
    NOSUCHCOMMAND
    SET %a 1 EX 100
    EXEC
    GET %a
    MULTI
    GET
    DISCARD
    MULTI
    GET %a
    EXEC
";

const MANY: &str = r#"
    MULTI
    MSET %a 1 %b 2 %a 3
    MGET %a %b %nope
    DEL %a %b %nope %a
    MGET %a %b
    SETNX %a 1
    SETNX %a 2
    SETEX %b 100 "x y"
    PSETEX %c 100000 ""
    MGET %a %b %c
    EXEC
    MGET %a %b %c
"#;
