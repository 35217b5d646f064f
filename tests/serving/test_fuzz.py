"""Bodies made up from the description of the interface: no fault, whatever comes (R1, R2).

For longer, against a running server, whose description lies at /openapi.json:

    schemathesis run http://127.0.0.1:8000/openapi.json --checks not_a_server_error -n 2000
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from ownlm.inference.language_model import LM
from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.state import State

from .conftest import Scripted, served_by

EXAMPLES = 25


@pytest.mark.slow
def test_no_body_is_a_fault(writer: LM) -> None:
    scripted = Scripted(writer)
    options = ServeConfig(allowed_host=("testserver",))
    state = State(options, {"tiny": served_by(scripted)})
    schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(state))
    tried: dict[str, set[int]] = {}
    for operation in schema.get_all_operations():
        made = operation.ok()
        if made.path == "/health":
            continue

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck])
        @given(case=made.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            if isinstance(case.body, dict):
                case.body.pop("model", None)  # a name that is made up would end it too soon
            response = case.call()
            case.validate_response(response, checks=[not_a_server_error])
            tried.setdefault(case.path, set()).add(response.status_code)

        ask()
    assert len(tried) > 15
    assert 200 in tried["/tokenize"]
    assert scripted.running == 0
    assert state.models["tiny"].unfinished == 0
