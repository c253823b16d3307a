"""Users over HTTP."""

from tests.client import ApiClient


def test_a_user_is_created_read_replaced_and_removed(api: ApiClient) -> None:
    """The life of a user, with its version as entity tag."""
    made = api.post("/api/users", {"name": "Ada", "email": "ada@example.com", "metadata": {"tier": 1}})
    assert made.status == 201
    path = made.headers["Location"]
    assert made.headers["ETag"] == '"1"'
    assert api.get(path).json == made.json

    replaced = api.call("PUT", path, {"name": "Ada L.", "email": "ada@example.com"}, If_Match='"1"')
    assert (replaced.status, replaced.json["version"], replaced.json["metadata"]) == (200, 2, {})

    assert api.call("DELETE", path).status == 204
    assert api.get(path).code == "not_found"
