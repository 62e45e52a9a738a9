"""What PyMISP's users do, done to a hub: `story.py URL KEY`.

Each step says what it found; the first that finds something else ends the script with 1.
"""

import sys

from pymisp import MISPAttribute, MISPEvent, MISPObject, MISPSighting, PyMISP

url, key = sys.argv[1:3]
steps = 0


def expect(what, ok, seen=""):
    global steps
    if not ok:
        sys.exit(f"{what}: {seen!r}")
    steps += 1


misp = PyMISP(url, key, ssl=False)
expect("version", misp.misp_instance_version["version"].count(".") == 2)
expect("user", misp.get_user("me", pythonify=True).email.startswith("admin@"))
expect("types", "ip-src" in misp.describe_types_remote["types"])

event = MISPEvent()
event.info = "bans of web-1"
event.distribution = 0
event.add_tag("tlp:green")
event.add_attribute("ip-src", "192.0.2.1", comment="sshd")
event = misp.add_event(event, pythonify=True)
expect("event", event.id and [tag.name for tag in event.tags] == ["tlp:green"], event)
expect("exists", misp.event_exists(event.uuid))

attribute = MISPAttribute()
attribute.from_dict(
    type="ip-src", value="2001:DB8::0007", comment="sshd", first_seen="2026-11-20T10:00:00Z"
)
attribute.add_tag("fail2ban")
added = misp.add_attribute(event, attribute, pythonify=True)
expect("attribute", added.value == "2001:db8::7", added)
expect("attribute exists", misp.attribute_exists(added.uuid))
again = misp.add_attribute(event, attribute)
expect("duplicate", again["errors"][0] == 403, again)
again = misp.add_attribute(event, attribute, pythonify=True, break_on_duplicate=False)
expect("upsert", again.uuid == added.uuid, again)

values = [f"198.51.100.{n}" for n in range(5)]
batch = misp.add_attribute(event, [{"type": "ip-src", "value": it} for it in values], pythonify=True)
expect("batch", len(batch["attributes"]) == 5, batch)
# Of two, one is saved: a real MISP 2.5.1 answers with an object here, and PyMISP fails on it.
two = [{"type": "ip-src", "value": it} for it in ("198.51.100.0", "198.51.100.9")]
batch = misp.add_attribute(event, two, pythonify=True)
expect("one of two", len(batch["attributes"]) == 1 and batch["errors"], batch)
one = misp.add_attribute(event, [{"type": "ip-src", "value": "198.51.100.10"}], pythonify=True)
expect("list of one", len(one["attributes"]) == 1, one)

added.comment = "changed"
changed = misp.update_attribute(added, pythonify=True)
expect("update", changed.comment == "changed", changed)

sighting = MISPSighting()
sighting.from_dict(value="2001:db8::7", source="web-1")
expect("sighting", misp.add_sighting(sighting, pythonify=True).source == "web-1")
expect("sighting of it", misp.add_sighting(sighting, added, pythonify=True).type == "0")
expect("sightings", len(misp.sightings(added, pythonify=True)) == 2)
found = misp.search_sightings("attribute", context_id=int(added.id), pythonify=True)
expect("search of sightings", len(found) == 2, found)

found = misp.search("attributes", value="2001:db8::7", pythonify=True)
expect("search", [it.uuid for it in found] == [added.uuid], found)
found = misp.search("attributes", tags=["fail2ban"], type_attribute="ip-src", pythonify=True)
expect("search by tag", [it.uuid for it in found] == [added.uuid], found)
found = misp.search("attributes", eventid=event.id, limit=3, page=2, pythonify=True)
expect("pages", len(found) == 3, found)
found = misp.search("attributes", timestamp="1d", return_format="csv")
expect("csv", found.count("\n") >= 9, found)
found = misp.search("events", value="192.0.2.1", pythonify=True)
expect("search of events", [it.uuid for it in found] == [event.uuid], found)
found = misp.search("events", eventinfo="bans of web-1", metadata=True, pythonify=True)
expect("search by info", len(found) == 1, found)
expect("index", len(misp.search_index(eventinfo="web-1", pythonify=True)) == 1)

offender = MISPObject("fail2ban")
offender.add_attribute("banned-ip", "203.0.113.60")
offender.add_attribute("attack-type", "sshd")
offender.add_attribute("processing-timestamp", "2026-11-22T05:00:00+00:00")
stored = misp.add_object(event, offender, pythonify=True)
expect("object", len(stored.attributes) == 3 and stored.uuid == offender.uuid, stored)
whole = misp.get_event(event, pythonify=True)
expect("object of event", whole.objects[0].get_attributes_by_relation("banned-ip")[0].value == "203.0.113.60")
found = misp.search("objects", object_name="fail2ban", value="203.0.113.60", pythonify=True)
expect("search of objects", [it.uuid for it in found] == [offender.uuid], found)
expect("delete of object", "deleted" in misp.delete_object(stored)["message"])

expect("tag", "successfully" in misp.tag(event, "pap:amber")["message"])
names = [tag.name for tag in misp.get_event(event, pythonify=True).tags]
expect("tagged", names == ["tlp:green", "pap:amber"], names)
expect("untag", "successfully" in misp.untag(event, "pap:amber")["message"])

expect("publish", "published" in misp.publish(event)["message"])
expect("text", misp.search("attributes", eventid=event.id, return_format="text").count("\n") == 9)
expect("unpublish", "unpublished" in misp.unpublish(event)["message"])

event = misp.get_event(event, pythonify=True)
event.info = "bans of web-1, closed"
event.add_attribute("ip-src", "203.0.113.5")
event = misp.update_event(event, pythonify=True)
expect("update of event", len(event.attributes) == 10 and event.info.endswith("closed"), event)

expect("soft delete", "deleted" in misp.delete_attribute(added)["message"])
expect("gone", not misp.attribute_exists(added.uuid))
expect("hard delete", "deleted" in misp.delete_attribute(one["attributes"][0], hard=True)["message"])
expect("delete", "deleted" in misp.delete_event(event)["message"])
expect("all gone", not misp.event_exists(event.uuid))

try:
    PyMISP(url, "x" * 40, ssl=False)
    sys.exit("a wrong key was accepted")
except Exception as error:
    expect("wrong key", "Authentication failed" in str(error), error)

print(f"{steps} steps")
