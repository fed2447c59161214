"""Counts are of all tenants together: a key that looks at one of them does not read them."""

from pathlib import Path

import pytest

from tests.serve.test_serving import until
from tests.serve.test_watched import watched


@pytest.mark.slow
def test_a_viewer_of_one_tenant_does_not_scrape_what_all_tenants_do(tmp_path: Path) -> None:
    with watched(tmp_path) as served:
        theirs, every, own = served.key("viewer", tenant="acme"), served.key("viewer", tenant="*"), served.key("viewer")
        until(lambda: served.get("/metrics", **own).status == 200)
        found = [served.get("/metrics", **one).status for one in (theirs, every, own)]

    assert found == [403, 200, 200]
