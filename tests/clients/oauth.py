"""Authlib and FastMCP, unchanged, against a server at HOST PORT [KEY]."""

import asyncio
import json
import sys
import urllib.request

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier

host, port, *rest = sys.argv[1:]
server, key = f"http://{host}:{port}", rest[0] if rest else "none"
introspect, revoke = server + "/oauth2/introspect", server + "/oauth2/revoke"


def issue(payload):
    body = json.dumps({"payload": payload, "uses": 2}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(server + "/v1/tokens", body, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["token"]


class Validator(IntrospectTokenValidator):
    """A resource server, as Authlib's documentation has it."""

    def __init__(self, session):
        super().__init__()
        self.session = session

    def introspect_token(self, token_string):
        answer = self.session.introspect_token(introspect, token=token_string)
        answer.raise_for_status()
        return answer.json()


def authlib():
    for method in ["client_secret_basic", "client_secret_post"]:
        token = issue({"sub": "u", "scope": "read write", "active": False})
        session = OAuth2Session("gateway:1", key, token_endpoint_auth_method=method)
        answer = session.introspect_token(introspect, token=token, token_type_hint="access_token")
        assert answer.json()["active"] is True and answer.json()["sub"] == "u", answer.text
        validator = Validator(session)
        validator.validate_token(validator.authenticate_token(token), ["read"], None)
        for hint in [None, "refresh_token"]:
            answer = session.revoke_token(revoke, token=token, token_type_hint=hint)
            assert (answer.status_code, answer.text) == (200, ""), answer.text
        answer = session.introspect_token(introspect, token=token)
        assert answer.json() == {"active": False}, answer.text
        try:
            validator.validate_token(validator.authenticate_token(token), None, None)
            raise AssertionError("a revoked token is accepted")
        except InvalidTokenError:
            pass


async def fastmcp():
    for method in ["client_secret_basic", "client_secret_post"]:
        verifier = IntrospectionTokenVerifier(
            introspection_url=introspect,
            client_id="mcp",
            client_secret=key,
            client_auth_method=method,
            timeout_seconds=10,
            required_scopes=["read"],
        )
        token = issue({"sub": "u", "client_id": "app", "scope": "read write"})
        access = await verifier.verify_token(token)
        assert access.client_id == "app" and access.scopes == ["read", "write"], access
        assert access.expires_at > 1_700_000_000, access
        assert await verifier.verify_token(issue({"scope": "write"})) is None
        assert await verifier.verify_token("A" * 32) is None
        assert await verifier.verify_token("eyJ." + "x" * 3000) is None
    if rest:
        wrong = IntrospectionTokenVerifier(
            introspection_url=introspect, client_id="mcp", client_secret="wrong"
        )
        assert await wrong.verify_token(token) is None


authlib()
asyncio.run(fastmcp())
print("ok")
