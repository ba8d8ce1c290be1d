//! What is asked of both servers. A `%` begins a key, `~` a line whose integers may differ a little,
//! `?name` one whose answers differ by design, and `'` a command that is sent inline.

/// Commands about values outside of a transaction, with their options, contradictions and edge cases.
pub const SCRIPTS: &[(&str, &str)] = &[
    ("get", GET),
    ("set", SET),
    ("set-options", SET_OPTIONS),
    ("set-numbers", SET_NUMBERS),
    ("set-past", SET_PAST),
    ("setex", SETEX),
    ("many", MANY),
    ("getex", GETEX),
    ("getdel", GETDEL),
];

const GET: &str = r#"
    GET
    GET %a %b
    GET %a
    get %a
    gEt %a
    SET %a 1 EX 100
    GET %a
    get %a
    STRLEN %a
    STRLEN %nope
    STRLEN
    STRLEN %a %b
    TYPE %a
    TYPE %nope
    TYPE
    TYPE %a %b
"#;

const SET: &str = r#"
    SET
    SET %a
    SET %a 1 EX 100
    SET %a 2 PX 100000
    ~PTTL %a
    GET %a
    SET %a 3 KEEPTTL
    ~TTL %a
    GET %a
    SET %a 4 ex 200
    ~TTL %a
    SET %a 5
    ?default-ttl TTL %a
    ?default-ttl PTTL %a
    ?default-ttl EXPIRETIME %a
    ?default-ttl PEXPIRETIME %a
    SET %new 1 KEEPTTL
    ?default-ttl TTL %new
    SET %b 1 NX EX 100
    SET %b 2 NX EX 100
    GET %b
    SET %c 1 XX EX 100
    GET %c
    SET %b 3 XX EX 100
    GET %b
    SET %b 4 GET EX 100
    GET %b
    SET %d 1 GET EX 100
    GET %d
    SET %d 2 GET NX EX 100
    GET %d
    SET %e 1 NX GET EX 100
    GET %e
    SET %f 1 XX GET
    GET %f
    SET %e 2 EX 100 GET XX
    GET %e
    SET %e 3 XX KEEPTTL GET
    ~TTL %e
    GET %e
    SET %g 1 NX KEEPTTL
    GET %g
"#;

const SET_OPTIONS: &str = r#"
    SET %a 1 NX XX
    SET %a 1 XX NX
    SET %a 1 EX 10 PX 10
    SET %a 1 PX 10 EX 10
    SET %a 1 EX 10 EXAT 10
    SET %a 1 EXAT 10 PXAT 10
    SET %a 1 PXAT 10 PX 10
    SET %a 1 EX 10 KEEPTTL
    SET %a 1 KEEPTTL EX 10
    SET %a 1 KEEPTTL PXAT 10
    SET %a 1 EX
    SET %a 1 PX
    SET %a 1 EXAT
    SET %a 1 PXAT
    SET %a 1 NX EX
    SET %a 1 PERSIST
    SET %a 1 foo
    SET %a 1 ""
    SET %a 1 EX 10 foo
    SET %a 1 EX 0 foo
    SET %a 1 EX abc foo
    SET %a 1 EX 10 EX
    SET %a 1 GT
    SET %a 1 IFEQ 1
    SET %a 1 "NX "
    SET %a 1 " NX"
    SET %a 1 N
    SET %a 1 NXX
    SET %a 1 EX EX
    EXISTS %a
    SET %a 1 EX 100 EX 200
    ~TTL %a
    SET %a 2 KEEPTTL KEEPTTL
    ~TTL %a
    SET %a 3 XX XX EX 100
    SET %b 3 NX NX EX 100
    SET %a 4 GET GET EX 100
    SET %a 5 nX eX 100
    SET %a 5 xX pX 100000 gEt
    SET %a 6 keepttl xx get
    GET %a
    ?zero-byte SET %a 7 "EX\x00junk" 100
    ?zero-byte SET %a 8 "XX\x00"
"#;

const SET_NUMBERS: &str = r#"
    SET %a 1 EX 0
    SET %a 1 EX -1
    SET %a 1 EX -0
    SET %a 1 EX +5
    SET %a 1 EX " 5"
    SET %a 1 EX "5 "
    SET %a 1 EX "\x005"
    SET %a 1 EX "5\x00"
    SET %a 1 EX 05
    SET %a 1 EX 00
    SET %a 1 EX 1.5
    SET %a 1 EX 1e3
    SET %a 1 EX 0x10
    SET %a 1 EX ""
    SET %a 1 EX -
    SET %a 1 EX --5
    SET %a 1 EX abc
    SET %a 1 EX "５"
    SET %a 1 EX 9223372036854775
    SET %a 1 EX 9223372036854775806
    SET %a 1 EX 9223372036854775807
    SET %a 1 EX 9223372036854775808
    SET %a 1 EX 18446744073709551615
    SET %a 1 EX 18446744073709551621
    SET %a 1 EX -9223372036854775808
    SET %a 1 EX -9223372036854775809
    SET %a 1 EX 99999999999999999999999999999999
    SET %a 1 PX 0
    SET %a 1 PX -1
    SET %a 1 PX +5
    SET %a 1 PX 9223372036854775807
    SET %a 1 PX 9223372036854775808
    SET %a 1 EXAT 0
    SET %a 1 EXAT -1
    SET %a 1 EXAT abc
    SET %a 1 EXAT 9223372036854775807
    SET %a 1 PXAT 0
    SET %a 1 PXAT -5
    SET %a 1 PXAT +5
    EXISTS %a
    SET %a 1 EX 10 NX
    SET %a 2 EX 0 NX
    SET %a 2 EX 0 XX GET
    SET %b 2 EX 0 XX
    SET %b 2 EX abc NX
    GET %a
    ?max-ttl SET %a 1 EX 99999999
    ?max-ttl SET %a 1 PX 99999999999
    ?max-ttl SET %a 1 EXAT 99999999999
    ?max-ttl SET %a 1 PXAT 9223372036854775807
    ?max-ttl SET %a 1 EXAT 9223372036854775
"#;

const SET_PAST: &str = r#"
    SET %a 1 EXAT 1
    GET %a
    EXISTS %a
    SET %a 1 EX 100
    SET %a 2 PXAT 1
    GET %a
    SET %a 1 EX 100
    SET %a 2 NX EXAT 1
    GET %a
    SET %a 2 XX EXAT 1
    GET %a
    SET %a 2 XX EXAT 1
    SET %a 2 NX PXAT 1
    GET %a
    SET %a 1 EX 100
    SET %a 2 GET EXAT 1
    GET %a
    SET %a 2 GET EXAT 1
    SET %a 1 EX 100
    SET %a 2 NX GET EXAT 1
    GET %a
    SET %a 2 XX GET EXAT 1
    GET %a
    SET %a 2 EX 100
    GET %a
"#;

const SETEX: &str = r#"
    SETEX
    SETEX %a 100
    SETEX %a 100 1 2
    SETEX %a 100 1
    GET %a
    ~TTL %a
    SETEX %a 0 2
    SETEX %a -1 2
    SETEX %a abc 2
    SETEX %a +5 2
    SETEX %a 9223372036854775807 2
    SETEX %a 9223372036854775 2
    ?max-ttl SETEX %a 99999999 2
    SETEX %a 100 2
    GET %a
    PSETEX
    PSETEX %a 100000
    PSETEX %a 100000 3
    ~PTTL %a
    PSETEX %a 0 4
    PSETEX %a -1 4
    PSETEX %a " 5" 4
    PSETEX %a 9223372036854775807 4
    ?max-ttl PSETEX %a 99999999999 4
    PSETEX %a 100000 4
    GET %a
    SETNX
    SETNX %a
    SETNX %a 5 6
    SETNX %a 5
    SETNX %b 5
    GET %a
    GET %b
    ?default-ttl TTL %b
"#;

const MANY: &str = r#"
    MGET
    MGET %a
    MGET %a %a %b
    MSET
    MSET %a
    MSET %a 1
    MSET %a 1 %b
    MSET %a 1 %b 2 %c 3
    MGET %a %b %c %nope %a
    ?default-ttl TTL %a
    MSET %a 1 %a 2 %b "" %a 3
    MGET %a %b
    SET %d 1 EX 100
    MSET %d 2
    ?default-ttl TTL %d
    mget %d
    DEL %a %b %c %d
    MGET %a %b %c %d
"#;

const GETEX: &str = r#"
    GETEX
    GETEX %a
    GETEX %a EX
    GETEX %a EX 0
    GETEX %a EX abc
    GETEX %a PERSIST
    GETEX %a foo
    GETEX %a EX 10 foo
    SET %a 1 EX 100
    GETEX %a
    ~TTL %a
    GETEX %a EX 200
    ~TTL %a
    GETEX %a PX 300000
    ~PTTL %a
    GETEX %a ex 100 EX 200
    ~TTL %a
    GETEX %a EX 0
    GETEX %a EX -1
    GETEX %a EX +5
    GETEX %a EX abc
    GETEX %a EX 9223372036854775807
    GETEX %a PX 9223372036854775807
    GETEX %a EX 9223372036854775
    GETEX %a EX
    GETEX %a EX 10 PX 10
    GETEX %a EX 10 PERSIST
    GETEX %a PERSIST EX 10
    GETEX %a KEEPTTL
    GETEX %a NX
    GETEX %a XX EX 10
    GETEX %a GET
    GETEX %a foo
    ?max-ttl GETEX %a EX 99999999
    ?max-ttl GETEX %a PXAT 9223372036854775807
    ?no-persist GETEX %a PERSIST
    SET %a 1 EX 100
    GETEX %a EXAT 0
    GETEX %a PXAT -1
    GET %a
    GETEX %a EXAT 1
    GET %a
    SET %a 1 EX 100
    GETEX %a PXAT 1
    GET %a
    GETEX %a PXAT 1
"#;

const GETDEL: &str = r#"
    GETDEL
    GETDEL %a %b
    GETDEL %a
    SET %a 1 EX 100
    GETDEL %a
    GETDEL %a
    GET %a
    EXISTS %a
    TTL %a
    SET %a 2 NX EX 100
    getdel %a
    SET %a "" EX 100
    GETDEL %a
    GETDEL %a
"#;

/// A pipeline that leaves nothing behind, so that its answers are always the same. Many of its changes
/// depend on the change before them.
pub const CUT: &str = r#"
    DEL %a %b
    SET %a "1\r\n$3" EX 100
    GET %a
    'SET %b 'x y' EX 100
    MGET %a %b %c
    SET %a 2 EX
    GET
    MULTI
    SET %a 3 GET EX 100
    GETDEL %b
    EXEC
    'GET %a
    DEL %a
    SET %a 4 EX 100
    GETDEL %a
    GETDEL %a
    SET %a 5 EX 100
    DEL %a
    SET %a 6 NX EX 100
    SET %a 7 NX EX 100
    SET %a 8 XX GET EX 100
    EXPIRE %a 100
    MSET %a 9 %b 9
    DEL %a %b
    EXPIRE %a 100
"#;
