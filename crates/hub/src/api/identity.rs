//! Who is asking, and what the hub is.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Api;
use crate::answer::{Answer, Fault};
use crate::keys::Role;
use crate::request::Request;

/// The version of MISP that the hub answers as: the one that its answers were compared with.
const VERSION: &str = "2.5.1";

/// `GET /servers/getVersion`
pub(super) fn version(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let role = request.holder.role;
    let administrator = role == Role::Administrator;
    let instance = api.store.organisation.instance.to_string();
    Ok(Answer::json(&json!({
        "version": VERSION,
        "pymisp_recommended_version": VERSION,
        "perm_sync": administrator,
        "perm_sighting": role.may_write(),
        "perm_galaxy_editor": false,
        "perm_analyst_data": false,
        "uuid": if administrator { instance.as_str() } else { "-" },
        "request_encoding": ["gzip"],
        "filter_sightings": true,
    })))
}

/// `GET /servers/getPyMISPVersion`
pub(super) fn pymisp_version(_: &Api, _: &Request) -> Result<Answer, Fault> {
    Ok(Answer::json(&json!({ "version": VERSION })))
}

/// `GET /attributes/describeTypes`
pub(super) fn describe_types(_: &Api, _: &Request) -> Result<Answer, Fault> {
    let body = misp::describe_types::JSON.as_bytes().to_vec();
    Ok(Answer::new(StatusCode::OK, "application/json; charset=UTF-8", body))
}

/// `GET /users/view/me`: the holder of the key, in the shape of a MISP user.
pub(super) fn user(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let holder = &request.holder;
    let asked = request.path.arg(0).unwrap_or("me");
    if asked != "me" && asked != holder.id.to_string() {
        return Err(Fault::refused(StatusCode::NOT_FOUND, "Invalid user"));
    }
    let organisation = &api.store.organisation;
    let id = holder.id.to_string();
    let created = holder.created.to_string();
    Ok(Answer::json(&json!({
        "User": {
            "id": id, "password": "*****", "org_id": "1", "email": holder.email(),
            "autoalert": false, "invited_by": "0", "gpgkey": null, "certif_public": "",
            "nids_sid": "0", "termsaccepted": true, "newsread": "0",
            "role_id": role_id(holder.role), "change_pw": false, "contactalert": false,
            "disabled": false, "expiration": null, "current_login": "0", "last_login": "0",
            "force_logout": false, "date_created": created, "date_modified": created,
            "sub": null, "external_auth_required": false, "external_auth_key": null,
            "last_api_access": request.now.to_string(), "notification_daily": false,
            "notification_weekly": false, "notification_monthly": false, "totp": "*****",
            "hotp_counter": null, "last_pw_change": null, "totp_is_set": "0",
        },
        "Role": role(holder.role),
        "UserSetting": [],
        "Organisation": {
            "id": "1", "name": organisation.name, "date_created": "", "date_modified": "",
            "description": "", "type": "", "nationality": "", "sector": "", "created_by": "0",
            "uuid": organisation.uuid, "contacts": null, "local": true,
            "restricted_to_domain": null, "landingpage": null,
        },
    })))
}

/// MISP's own roles that come nearest, by their usual numbers.
const fn role_id(role: Role) -> &'static str {
    match role {
        Role::Administrator => "1",
        Role::Curator => "4",
        Role::Sensor => "3",
        Role::Reader => "6",
    }
}

fn role(role: Role) -> Value {
    /// Each right that a MISP role has, and the least of our roles that has it.
    const RIGHTS: &[(&str, Option<Role>)] = &[
        ("perm_add", Some(Role::Sensor)),
        ("perm_modify", Some(Role::Sensor)),
        ("perm_modify_org", Some(Role::Curator)),
        ("perm_publish", Some(Role::Sensor)),
        ("perm_delegate", None),
        ("perm_sync", Some(Role::Administrator)),
        ("perm_admin", Some(Role::Administrator)),
        ("perm_audit", None),
        ("perm_auth", Some(Role::Reader)),
        ("perm_site_admin", Some(Role::Administrator)),
        ("perm_regexp_access", None),
        ("perm_tagger", Some(Role::Sensor)),
        ("perm_template", None),
        ("perm_sharing_group", None),
        ("perm_tag_editor", Some(Role::Sensor)),
        ("perm_sighting", Some(Role::Sensor)),
        ("perm_object_template", None),
        ("default_role", None),
        ("restricted_to_site_admin", None),
        ("perm_publish_zmq", None),
        ("perm_publish_kafka", None),
        ("perm_decaying", None),
        ("enforce_rate_limit", None),
        ("perm_galaxy_editor", None),
        ("perm_warninglist", None),
        ("perm_view_feed_correlations", None),
        ("perm_analyst_data", None),
        ("perm_skip_otp", None),
    ];
    let (permission, description) = match role {
        Role::Reader => ("0", "read_only"),
        Role::Sensor | Role::Curator | Role::Administrator => ("3", "publish"),
    };
    let mut fields = Map::from_iter([
        ("id".to_owned(), Value::from(role_id(role))),
        ("name".to_owned(), Value::from(role.name())),
        ("created".to_owned(), Value::Null),
        ("modified".to_owned(), Value::Null),
        ("memory_limit".to_owned(), Value::Null),
        ("max_execution_time".to_owned(), Value::Null),
        ("rate_limit_count".to_owned(), Value::from("0")),
        ("permission".to_owned(), Value::from(permission)),
        ("permission_description".to_owned(), Value::from(description)),
    ]);
    for (right, least) in RIGHTS {
        let granted = least.is_some_and(|least| role >= least);
        fields.insert((*right).to_owned(), Value::from(granted));
    }
    Value::Object(fields)
}
