//! The OpenAPI document compared with the server: every example is sent, every answer is validated
//! against its schemas, and undescribed paths do not exist.
//!
//! Examples of a request and of its answer belong together by their name. Before each, the tokens
//! of `x-example-setup` are issued on a separate server, and replace the placeholders in the
//! requests.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::access::Keys;
use crate::raw::{Conn, Response, request};
use crate::server::{Launch, Server};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// The document, as the admin listener serves it.
struct Api(Value);

/// One method of one path.
struct Operation<'a> {
    path: &'a str,
    method: String,
    described: &'a Value,
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Operation<'_> {
    /// The type of its body.
    fn media_type(&self) -> &'static str {
        let content = &self.described["requestBody"]["content"];
        if content[FORM].is_null() { "application/json" } else { FORM }
    }

    /// The value of an example as a body.
    fn body(&self, value: &Value) -> String {
        if value.is_null() || self.media_type() != FORM {
            return if value.is_null() { String::new() } else { value.to_string() };
        }
        let fields = value.as_object().expect("a form").iter();
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let field = |(name, value): (&String, &Value)| {
            let text = value.as_str().expect("a text");
            let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            format!("{name}={}", if is_plain { text.to_owned() } else { encoded(text) })
        };
        fields.map(field).collect::<Vec<_>>().join("&")
    }
}

impl Api {
    fn of(server: &Server) -> Self {
        Self::shown_to(server, None)
    }

    fn shown_to(server: &Server, key: Option<&str>) -> Self {
        let headers: Vec<_> = key.iter().map(|key| ("Authorization", *key)).collect();
        let answer = send(server.admin, "GET", "/openapi.json", &headers, "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self(answer.json())
    }

    fn paths(&self) -> &Map<String, Value> {
        self.0["paths"].as_object().expect("paths")
    }

    fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.paths().iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").iter();
            let known = methods.filter(|(method, _)| METHODS.contains(&method.as_str()));
            known.map(|(method, described)| Operation {
                path,
                method: method.to_uppercase(),
                described,
            })
        })
    }

    /// Follows a `$ref`, if there is one.
    fn look<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(place) = value["$ref"].as_str() else { return value };
        let place = place.strip_prefix('#').expect("within the document");
        self.0.pointer(place).unwrap_or_else(|| panic!("{place} is not there"))
    }

    /// Whether a value matches the schema, including its references.
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let whole = json!({"allOf": [schema], "components": self.0["components"]});
        let validator = jsonschema::draft202012::new(&whole).expect("a schema");
        validator.validate(value).map_err(|error| format!("{error} at {}", error.instance_path()))
    }

    /// Whether the answer is described: its status, its headers, its body.
    fn check_answer(&self, operation: &Operation<'_>, answer: &Response) {
        let what = format!("{} {}: {}", operation.method, operation.path, answer.status);
        let described = &operation.described["responses"][answer.status.to_string()];
        assert!(!described.is_null(), "{what} is not described");
        let described = self.look(described);
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let is_required = self.look(header)["required"] == true;
            assert!(
                !is_required || answer.header(&name.to_lowercase()).is_some(),
                "{what}: no {name}"
            );
        }
        let kind = answer.header("content-type");
        let Some(content) = described["content"].as_object() else {
            assert!(answer.body.is_empty(), "{what}: a body that is not described");
            return;
        };
        let kind = kind.unwrap_or_else(|| panic!("{what}: no type"));
        let plain = kind.split(';').next().unwrap_or(kind);
        let found = content.iter().find(|(name, _)| [kind, plain].contains(&name.as_str()));
        let (_, body) = found.unwrap_or_else(|| panic!("{what}: {kind} is not described"));
        if kind.ends_with("json") {
            self.check(&body["schema"], &answer.json())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

fn send(
    address: std::net::SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut conn = Conn::open(address).expect("a connection");
    conn.send(&request(method, path, headers, body.as_bytes())).expect("sends");
    conn.response().expect("an answer")
}

fn is_admin(operation: &Operation<'_>) -> bool {
    operation.described["tags"][0].as_str() == Some("admin")
}

/// A server without keys, or with them and two keys that together may do everything.
struct Subject {
    server: Server,
    key: Option<String>,
    /// The key of the whole server, for the admin listener.
    operator: Option<String>,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn start(has_keys: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut launch = Launch::on(&dir.path().join("data"));
        let keys = Keys::in_dir(dir.path());
        let scopes = "issue,resolve,consume,revoke,reference,import";
        let key = has_keys.then(|| keys.add("shop-a", scopes, &[]));
        let operator = has_keys.then(|| keys.add("*", "admin,metrics,backup", &[]));
        if has_keys {
            launch = launch.flag("--keys", keys.path());
        }
        Self { server: launch.start(), key, operator, _dir: dir }
    }

    fn send(
        &self,
        operation: &Operation<'_>,
        path: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut headers = more.to_vec();
        let key = if is_admin(operation) { &self.operator } else { &self.key };
        headers.extend(key.as_deref().map(|key| ("Authorization", key)));
        if !body.is_empty() {
            headers.push(("Content-Type", operation.media_type()));
        }
        send(self.address(operation), &operation.method, path, &headers, body)
    }

    fn address(&self, operation: &Operation<'_>) -> std::net::SocketAddr {
        if is_admin(operation) { self.server.admin } else { self.server.data }
    }

    /// Issues the tokens of the examples. Returns placeholders and tokens.
    fn set_up(&self, api: &Api) -> Vec<(String, String)> {
        let issue = api.operations().find(|it| it.path == "/v1/tokens").expect("issue");
        let mut tokens = Vec::new();
        for needed in api.0["x-example-setup"].as_array().expect("a list") {
            let answer = self.send(&issue, issue.path, &[], &needed["issue"].to_string());
            assert_eq!(answer.status, 201, "{}", answer.text());
            if let Some(placeholder) = needed["placeholder"].as_str() {
                let token = answer.json()["token"].as_str().expect("a token").to_owned();
                tokens.push((placeholder.to_owned(), token));
            }
        }
        tokens
    }
}

/// An example request of the document.
struct Example {
    name: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// The names of an operation's examples, and the values of each.
fn examples(operation: &Operation<'_>) -> Vec<Example> {
    let parameters = operation.described["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<&Value> = parameters.collect();
    let content = &operation.described["requestBody"]["content"];
    let bodies = &content[operation.media_type()]["examples"];
    let named = parameters.iter().map(|parameter| &parameter["examples"]).chain([bodies]);
    let names: BTreeSet<&String> =
        named.filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
    let of_name = |name: &String| {
        let (mut path, mut headers) = (operation.path.to_owned(), Vec::new());
        for parameter in &parameters {
            let Some(value) = parameter["examples"][name]["value"].as_str() else { continue };
            let parameter_name = parameter["name"].as_str().expect("a name");
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{parameter_name}}}"), value),
                _ => headers.push((parameter_name.to_owned(), value.to_owned())),
            }
        }
        let body = operation.body(&bodies[name]["value"]);
        Example { name: name.clone(), path, headers, body }
    };
    names.into_iter().map(of_name).collect()
}

/// The answer of this name in the document: its status and its body.
fn promised<'a>(operation: &'a Operation<'_>, name: &str) -> Option<(u16, &'a Value)> {
    let responses = operation.described["responses"].as_object()?;
    responses.iter().find_map(|(status, response)| {
        let mut contents = response["content"].as_object()?.values();
        let found = contents.find_map(|content| content["examples"].get(name))?;
        Some((status.parse().ok()?, &found["value"]))
    })
}

/// The value with each token and time replaced, because they differ in each answer.
fn normalized(mut value: Value) -> Value {
    match &mut value {
        Value::Array(all) => all.iter_mut().for_each(|one| *one = normalized(one.take())),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                *member = match name.as_str() {
                    "token" | "expires_at" if member.is_string() => Value::from("new"),
                    "exp" | "iat" if member.is_u64() => Value::from("new"),
                    _ => normalized(member.take()),
                };
            }
        }
        _ => {}
    }
    value
}

#[test]
fn every_example_of_the_description_is_answered_as_it_says() {
    let mut sent = 0;
    for has_keys in [false, true] {
        let subject = Subject::start(has_keys);
        let api = Api::shown_to(&subject.server, subject.operator.as_deref());
        for operation in api.operations() {
            for example in examples(&operation) {
                let subject = Subject::start(has_keys);
                let tokens = subject.set_up(&api);
                let fill = |text: &str| {
                    let put = |text: String, (from, to): &(String, String)| text.replace(from, to);
                    tokens.iter().fold(text.to_owned(), put)
                };
                let headers = example.headers.iter().map(|(name, value)| (&**name, &**value));
                let headers: Vec<_> = headers.collect();
                let (path, body) = (fill(&example.path), fill(&example.body));
                let answer = subject.send(&operation, &path, &headers, &body);
                let what = format!("{} {} {}", operation.method, operation.path, example.name);
                api.check_answer(&operation, &answer);
                sent += 1;
                let Some((status, promised)) = promised(&operation, &example.name) else {
                    assert!(answer.body.is_empty(), "{what}: {}", answer.text());
                    continue;
                };
                assert_eq!(answer.status, status, "{what}: {}", answer.text());
                let is_fixed = answer.status >= 400 || !is_admin(&operation);
                if is_fixed {
                    assert_eq!(normalized(answer.json()), normalized(promised.clone()), "{what}");
                }
            }
        }
    }
    assert!(sent > 50, "{sent} examples");
}

#[test]
fn every_reference_of_the_description_leads_somewhere_and_every_schema_is_one() {
    fn visit<'a>(value: &'a Value, each: &mut dyn FnMut(&'a Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                each(object);
                object.values().for_each(|value| visit(value, each));
            }
            Value::Array(list) => list.iter().for_each(|value| visit(value, each)),
            _ => {}
        }
    }
    let api = Api::of(&Server::shared());
    assert!(api.0["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    assert_eq!(api.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut references = 0;
    visit(&api.0, &mut |object| {
        if object.contains_key("$ref") {
            references += 1;
            assert!(!api.look(&Value::Object(object.clone())).is_null());
        }
    });
    assert!(references > 100, "{references}");
    for (name, schema) in api.0["components"]["schemas"].as_object().expect("schemas") {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
    // The comparison detects a difference.
    let issue = json!({"$ref": "#/components/schemas/Issue"});
    assert_eq!(api.check(&issue, &json!({"payload": 1, "uses": 2})), Ok(()));
    for wrong in
        [json!({"uses": 2}), json!({"payload": 1, "uses": 0}), json!({"payload": 1, "x": 1})]
    {
        assert!(api.check(&issue, &wrong).is_err(), "{wrong}");
    }
}

/// Every described path exists, and every existing path is described.
#[test]
fn paths_and_methods_are_those_of_the_server() {
    let subject = Subject::start(false);
    let api = Api::shown_to(&subject.server, subject.operator.as_deref());
    let token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (path, _) in api.paths() {
        let here: Vec<_> = api.operations().filter(|it| it.path == path).collect();
        let described: BTreeSet<&str> = here.iter().map(|it| it.method.as_str()).collect();
        let real = path.replace("{token}", token);
        // The answer to HEAD has no body, so curl reads it.
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let address = subject.address(&here[0]);
            let answer = send(address, method, &real, &[], "");
            let is_there = answer.status != 405;
            assert_eq!(is_there, described.contains(method), "{method} {path}: {}", answer.status);
            if !is_there {
                let allowed = answer.header("allow").expect("Allow");
                let allowed: BTreeSet<&str> = allowed.split(", ").collect();
                assert_eq!(allowed, described, "{method} {path}");
            }
        }
    }
    for path in ["/", "/v1", "/v1/token", "/v1/tokens/x/y", "/v2/tokens"] {
        let expected = if path.starts_with("/v1/tokens/") { [400, 404] } else { [404, 404] };
        let status = send(subject.server.data, "GET", path, &[], "").status;
        assert!(expected.contains(&status), "{path}: {status}");
    }
}

/// Refusals without an example.
#[test]
fn refusals_are_as_described() {
    let subject = Subject::start(true);
    let api = Api::shown_to(&subject.server, subject.operator.as_deref());
    for operation in api.operations().filter(|it| it.method != "HEAD") {
        let path = operation
            .path
            .replace("{token}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
            .replace("{name}", "cart");
        let address = subject.address(&operation);
        let keyless = send(address, &operation.method, &path, &[], "");
        let is_open = matches!(operation.path, "/healthz" | "/readyz");
        assert_eq!(keyless.status == 401, !is_open, "{} {path}", operation.method);
        api.check_answer(&operation, &keyless);
        if operation.described["requestBody"]["required"] == true {
            let right = operation.media_type();
            for (kind, body) in [("text/plain", "x"), (right, "{"), (right, "[]")] {
                let key = subject.key.as_deref().expect("a key");
                let headers = [("Content-Type", kind), ("Authorization", key)];
                let answer = send(address, &operation.method, &path, &headers, body);
                assert_eq!(answer.status, if kind == "text/plain" { 415 } else { 400 });
                api.check_answer(&operation, &answer);
            }
        }
    }
}
