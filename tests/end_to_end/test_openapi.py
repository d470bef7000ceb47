"""GET /openapi.json: what is served, as a document that holds to its own rules."""

import httpx2 as httpx
import jsonschema
from conftest import LAPTOP
from process import Process

import modelserver


def test_every_route_is_in_the_document(server: Process, http: httpx.Client) -> None:
    got = http.get(f"{server.root}/openapi.json")
    told = got.json()
    assert got.headers["content-type"] == "application/json; charset=utf-8" and told["openapi"] == "3.1.0"
    assert told["servers"] == [{"url": server.root}] and told["security"] == []
    assert told["info"]["version"] == modelserver.VERSION
    methods = {path: {*operations} for path, operations in told["paths"].items()}
    assert methods["/v1/chat/completions"] == methods["/v1/responses"] == methods["/v1/messages"] == {"post"}
    assert methods["/admin/keys"] == {"get"} and methods["/admin/keys/add"] == {"post"}
    assert methods["/v1/responses/{id}"] == {"get", "delete"} and methods["/v1/models/{id}"] == {"get"}
    known = {
        (method, path)
        for route in modelserver.routes()
        if (path := route.path.replace(":(?s:.+)", "")).startswith(("/v1/", "/admin/"))
        and not path.startswith("/v1/v1")
        and not path.endswith("/")
        and (method := route.method.lower())
        and (method, path) != ("get", "/v1/responses")
    }
    assert {(method, path) for path, found in methods.items() for method in found} == known
    for path, operations in told["paths"].items():
        for operation in operations.values():
            named = {each["name"] for each in operation.get("parameters", [])}
            assert all(f"{{{name}}}" in path for name in named) and path.count("{") == len(named), path


def test_its_schemas_say_what_the_server_checks(keyed: Process, http: httpx.Client) -> None:
    told = http.get(f"{keyed.root}/openapi.json").json()
    assert told["security"] == [{"key": []}]
    schemas = told["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    right = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
    wrong = [{}, {"temperature": 2.1}, {"top_p": -1}, {"n": 0}, {"stop": ["a"] * 5}, {"messages": []}, {"stream": 1}]
    for change in wrong:
        body = right | change
        answer = http.post(f"{keyed.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {LAPTOP}"})
        valid = jsonschema.Draft202012Validator(schemas["ChatCompletionRequest"]).is_valid(body)
        assert valid is (answer.status_code == 200) is (change == {}), change
        if not valid:
            jsonschema.validate(answer.json(), schemas["Error"])
