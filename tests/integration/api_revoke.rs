//! `DELETE /v1/tokens/{token}`: the token is removed at once, and the answer is the same for an
//! unknown token.

use crate::client::{Client, expect};
use crate::server::Server;

#[test]
fn p3_a_revoked_token_is_gone() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"uses":5}"#);
    let revoked = client.revoke(&issued.token);
    expect(&revoked, 204);
    assert!(revoked.body.is_empty());
    expect(&client.resolve(&issued.token), 404);
    expect(&client.consume(&issued.token), 404);
    expect(&client.status(&issued.token), 404);
    expect(&client.extend(&issued.token, "1h"), 404);
    assert_eq!(client.resolve_many(&[&issued.token]).text(), "[null]");
}

#[test]
fn revoking_is_always_204() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    expect(&client.revoke("CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"), 204);
    let issued = client.issued(r#"{"payload":1}"#);
    expect(&client.consume(&issued.token), 200);
    for _ in 0..3 {
        expect(&client.revoke(&issued.token), 204);
    }
}

#[test]
fn p3_revocation_ends_the_retries_of_a_consumption() {
    let server = Server::shared();
    let mut client = Client::of(&server);
    let issued = client.issued(r#"{"payload":1,"uses":2}"#);
    expect(&client.consume_keyed("k", &issued.token), 200);
    expect(&client.revoke(&issued.token), 204);
    expect(&client.consume_keyed("k", &issued.token), 404);
}
