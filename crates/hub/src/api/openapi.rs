//! `/openapi.json`: the calls, described from the table that answers them.

use serde_json::{Map, Value, json};

use super::Call;
use super::routes::{self, Route};

/// The description, as OpenAPI 3.1 has it.
pub(crate) fn description() -> Value {
    let mut paths = Map::new();
    for route in routes::ALL {
        paths.insert(format!("/{}", route.path), operations(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fail2misp hub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the hub answers of MISP's API, with MISP's shapes and statuses.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Authorization"},
            },
        },
        "security": [{"key": []}],
    })
}

fn operations(route: &Route) -> Value {
    let parameter =
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let parameters: Vec<Value> = route.arguments().map(parameter).collect();
    let answer = |text: &str| json!({"description": text, "content": {"application/json": {}}});
    let mut operation = json!({
        "summary": route.summary,
        "tags": [route.controller()],
        "parameters": parameters,
        "responses": {"200": answer("Done"), "403": answer("Refused, with the reason")},
    });
    match route.call {
        Call::Read(_) => json!({ "get": operation }),
        Call::Search(_) | Call::Write(_) | Call::Described(..) => {
            operation["requestBody"] = json!({"content": {"application/json": {}}});
            json!({ "post": operation })
        }
    }
}
