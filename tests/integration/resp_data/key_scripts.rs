//! What is asked of both servers about keys, bytes and limits. The signs are those of `scripts`.

pub const SCRIPTS: &[(&str, &str)] = &[
    ("remove", REMOVE),
    ("ttl", TTL),
    ("expire", EXPIRE),
    ("expire-conditions", EXPIRE_CONDITIONS),
    ("expire-numbers", EXPIRE_NUMBERS),
    ("bytes", BYTES),
    ("inline", INLINE),
    ("limits", LIMITS),
    ("absent", ABSENT),
];

const REMOVE: &str = r#"
    DEL
    UNLINK
    EXISTS
    DEL %a
    UNLINK %a
    EXISTS %a
    MSET %a 1 %b 2 %c 3
    EXISTS %a %a %nope %b
    DEL %a %a %nope
    EXISTS %a %b
    UNLINK %b %c %b
    EXISTS %a %b %c
    SET %a 1 NX EX 100
    DEL %a
    SET %a 1 XX EX 100
"#;

const TTL: &str = r#"
    TTL
    TTL %a %b
    PTTL
    EXPIRETIME
    PEXPIRETIME
    PEXPIRETIME %a %b
    TTL %nope
    PTTL %nope
    EXPIRETIME %nope
    PEXPIRETIME %nope
    SET %a 1 EX 100
    ~TTL %a
    ~PTTL %a
    ~EXPIRETIME %a
    ~PEXPIRETIME %a
    PEXPIRE %a 1900
    TTL %a
    PEXPIRE %a 2400
    TTL %a
"#;

const EXPIRE: &str = r#"
    EXPIRE
    EXPIRE %a
    PEXPIRE %a
    EXPIREAT %a
    PEXPIREAT %a
    EXPIRE %a 100
    PEXPIRE %a 100
    EXPIREAT %a 1
    PEXPIREAT %a 1
    SET %a 1 EX 1000
    EXPIRE %a 100
    ~TTL %a
    EXPIRE %a 500
    ~TTL %a
    PEXPIRE %a 100000
    ~PTTL %a
    expire %a 100
    EXPIRE %a 0
    GET %a
    EXPIRE %a 0
    SET %a 1 EX 1000
    EXPIRE %a -1
    EXISTS %a
    SET %a 1 EX 1000
    PEXPIRE %a -100000
    EXISTS %a
    SET %a 1 EX 1000
    PEXPIRE %a 0
    EXISTS %a
    SET %a 1 EX 1000
    EXPIREAT %a 1
    EXISTS %a
    SET %a 1 EX 1000
    EXPIREAT %a 0
    EXISTS %a
    SET %a 1 EX 1000
    EXPIREAT %a -5
    EXISTS %a
    SET %a 1 EX 1000
    PEXPIREAT %a 1
    EXISTS %a
    SET %a 1 NX EX 1000
    EXISTS %a
"#;

const EXPIRE_CONDITIONS: &str = r#"
    SET %a 1 EX 1000
    EXPIRE %a 100 NX
    ~TTL %a
    EXPIRE %a 100 XX
    ~TTL %a
    EXPIRE %a 50 GT
    ~TTL %a
    EXPIRE %a 500 GT
    ~TTL %a
    EXPIRE %a 800 LT
    ~TTL %a
    EXPIRE %a 300 LT
    ~TTL %a
    EXPIRE %a 400 XX GT
    EXPIRE %a 350 XX LT
    EXPIRE %a 300 GT XX
    PEXPIRE %a 1 GT
    EXISTS %a
    EXPIRE %a 10 gt
    EXPIRE %a 10 NX XX
    EXPIRE %a 10 NX GT
    EXPIRE %a 10 LT NX
    EXPIRE %a 10 GT LT
    EXPIRE %a 10 NX GT LT
    EXPIRE %a 10 foo
    EXPIRE %a 10 NX foo
    EXPIRE %a 10 ""
    EXPIRE %a 10 EX
    EXPIRE %a abc foo
    EXPIRE %a abc NX XX
    EXPIRE %a 10 "fo\r\no"
    PEXPIREAT %a 10 NX LT
    EXPIRE %a 10 NX NX
    EXPIRE %a 10 XX XX
    EXPIRE %a 1000 GT GT
    EXPIRE %nope 10 NX
    EXPIRE %nope 10 XX
    EXPIRE %nope 10 GT
    EXPIRE %a 0 GT
    EXPIREAT %a 1 GT
    EXISTS %a
    EXPIREAT %a 1 LT
    EXISTS %a
    SET %a 1 EX 1000
    EXPIRE %a -1 NX
    EXISTS %a
    EXPIRE %a -1 XX
    EXISTS %a
    SET %b 1
    ?always-a-deadline EXPIRE %b 100 XX
    SET %b 1
    ?always-a-deadline EXPIRE %b 100 NX
    SET %b 1
    ?always-a-deadline EXPIRE %b 100000 GT
    SET %b 1
    EXPIRE %b 10 LT
"#;

const EXPIRE_NUMBERS: &str = r#"
    SET %a 1 EX 1000
    EXPIRE %a abc
    EXPIRE %a +5
    EXPIRE %a " 5"
    EXPIRE %a ""
    EXPIRE %a 1.5
    EXPIRE %a 05
    EXPIRE %a 9223372036854775807
    EXPIRE %a 9223372036854775808
    EXPIRE %a 9223372036854775
    EXPIRE %a -9223372036854775808
    EXPIRE %a -9223372036854775809
    PEXPIRE %a 9223372036854775807
    PEXPIRE %a abc
    EXPIREAT %a 9223372036854775807
    EXPIREAT %a abc
    PEXPIREAT %a abc
    PEXPIREAT %a 9223372036854775808
    EXPIRE %nope abc
    EXPIRE %nope 9223372036854775807
    EXPIRE %nope 99999999
    ~TTL %a
    ?max-ttl EXPIRE %a 99999999
    ?max-ttl PEXPIRE %a 99999999999
    ?max-ttl EXPIREAT %a 99999999999
    ?max-ttl PEXPIREAT %a 9223372036854775807
    SET %a 1 EX 1000
    EXPIRE %a -9223372036854775
    EXISTS %a
    SET %a 1 EX 1000
    PEXPIRE %a -9223372036854775808
    EXISTS %a
"#;

const BYTES: &str = r#"
    SET "%\x00\x01\r\n\xff" "\x00\r\n$5\r\n\xfe" EX 100
    GET "%\x00\x01\r\n\xff"
    MGET "%\x00\x01\r\n\xff" "%\x00\x01\r\n"
    STRLEN "%\x00\x01\r\n\xff"
    SET %empty "" EX 100
    GET %empty
    MGET %empty %nope
    EXISTS %empty
    STRLEN %empty
    TYPE %empty
    SET %empty x GET EX 100
    SET %empty "" GET EX 100
    GETEX %empty EX 50
    SET %number 12345 EX 100
    GET %number
    STRLEN %number
    SET %number 007 EX 100
    GET %number
    SET %text "*1\r\n$4\r\nPING\r\n" EX 100
    GET %text
    SET 0123456789abcdef0123456789abcdef hex EX 100
    GET 0123456789abcdef0123456789abcdef
    GET 0123456789ABCDEF0123456789abcdef
    DEL 0123456789abcdef0123456789abcdef
    SET "% a" 1 EX 100
    GET "% a"
    GET "% A"
"#;

const INLINE: &str = r#"
    'SET %a 1 EX 100
    'GET %a
    'set %a "a b" EX 100
    'GET %a
    'SET %a "\x00\n\"" EX 100
    'GET %a
    'SET %a 'it' EX 100
    'GET %a
    '   GET    %a  
    'GET
    'GET %a %b
    'MGET %a %b
    'SET %a "" EX 100
    'GET %a
"#;

const LIMITS: &str = r#"
    ?key-length SET "" 1 EX 100
    ?key-length SETEX "" 100 1
    ?key-length SETNX "" 1
    ?key-length MSET "" 1
    ?key-length MSET %a 1 "" 2
    ?key-length GET ""
    ?key-length GETDEL ""
    ?key-length GETEX ""
    ?key-length MGET ""
    ?key-length DEL ""
    ?key-length EXISTS ""
    ?key-length TTL ""
    ?key-length EXPIRE "" 10
"#;

const ABSENT: &str = r#"
    SET %a 1 EX 100
    ?unknown-command PERSIST %a
    ?unknown-command APPEND %a b
    ?unknown-command INCR %a
    ?unknown-command GETSET %a b
    ?unknown-command GETRANGE %a 0 1
    ?unknown-command MSETNX %a b
    ?unknown-command RENAME %a %b
    ?unknown-command KEYS *
    ?unknown-command SCAN 0
    ?unknown-command EVAL 1 0
    ?unknown-command FLUSHALL
    ?unknown-command TOUCH %a
    ?unknown-command OBJECT ENCODING %a
    ?unknown-command SUBSCRIBE x
"#;
